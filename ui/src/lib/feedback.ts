/** What people think of messages. */

import { ask, client, here, type Answer } from "./api";

export type Opinion = Answer<"FeedbackInstance">;
export type Rating = Opinion["rating"];

export async function listOpinions(conversation: string): Promise<Opinion[]> {
  return (await ask(client.GET("/v1/{organization}/conversation/feedback", { params: { path: here(), query: { conversation_id: [conversation], limit: 100 } } }))).feedback;
}

export async function give(conversation: string, message: string, rating: Rating, comment: string): Promise<void> {
  await ask(client.PUT("/v1/{organization}/conversation/{conversation_id}/messages/{message_id}/feedback", { params: { path: { ...here(), conversation_id: conversation, message_id: message } }, body: { rating, comment } }));
}

export async function takeBack(conversation: string, message: string): Promise<void> {
  await ask(client.DELETE("/v1/{organization}/conversation/{conversation_id}/messages/{message_id}/feedback", { params: { path: { ...here(), conversation_id: conversation, message_id: message } } }));
}
