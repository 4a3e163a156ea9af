/** Recordings of a turn: their sound as a wave, and when each word of a reply sounds. */

import { ApiError, ask, client, here } from "./api";
import { run, type Line } from "./stream";

export interface Recorded {
  url: string;
  seconds: number;
  wave: number[]; // how loud it is, from 0 to 1, in equal parts of its time
}

export interface Word {
  text: string;
  at: number; // seconds from the beginning of the reply's sound
}

const PARTS = 240;
const RATE = 8000;

/** Fetch the recording of a message. Returns null if there is none. */
export async function recorded(conversation: string, message: string): Promise<Recorded | null> {
  if (!message) return null;
  try {
    const path = { ...here(), conversation_id: conversation, message_id: message };
    const { url } = await ask(client.GET("/v1/{organization}/conversation/{conversation_id}/messages/{message_id}/source", { params: { path } }));
    const local = new URL(url).pathname + new URL(url).search; // through this page's own address
    const answer = await fetch(local);
    if (!answer.ok) return null;
    const sound = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(await answer.arrayBuffer());
    return { url: local, seconds: sound.duration, wave: waveOf(sound.getChannelData(0)) };
  } catch (error) {
    if (error instanceof ApiError && [400, 404, 410].includes(error.status)) return null; // it was written, or is gone
    throw error;
  }
}

function waveOf(samples: Float32Array): number[] {
  const size = Math.max(1, Math.ceil(samples.length / PARTS));
  const peaks = Array.from({ length: Math.ceil(samples.length / size) }, (_, n) => samples.subarray(n * size, (n + 1) * size).reduce((most, one) => Math.max(most, Math.abs(one)), 0));
  const most = Math.max(...peaks, 0.05);
  return peaks.map((peak) => peak / most);
}

/** The words of a spoken reply, of the lines of its stream; they are read again if the page has not seen them. */
export async function spokenWords(conversation: string, interaction: string, seen: Line[]): Promise<Word[]> {
  const lines = [...seen];
  if (!lines.length) {
    await run({ path: `/conversation/${conversation}/interaction/${interaction}/stream?after=0`, method: "GET" }, new AbortController().signal, () => undefined, (line) => lines.push(line)).catch((error: unknown) => {
      if (!(error instanceof ApiError)) throw error; // it is kept for a day
    });
  }
  const words: Word[] = [];
  let open = false;
  for (const { event } of lines) {
    if (event.type !== "new-message" || !Array.isArray(event.transcript_alignment)) continue;
    for (const [ms, character] of event.transcript_alignment as [number, string][]) {
      if (/\s/.test(character)) open = false;
      else if (open) words.at(-1)!.text += character;
      else {
        words.push({ text: character, at: ms / 1000 });
        open = true;
      }
    }
  }
  return words;
}
