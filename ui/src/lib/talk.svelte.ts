/** A conversation as it is held: its turns, the one that runs, and where the agent stands in its graph. */

import { ApiError, ask, client, explain, here, waitOf, type Conversation, type Insights, type Message } from "./api";
import { logged, told, type Call, type Pending } from "./calls";
import { listOpinions, type Opinion } from "./feedback";
import { newKey } from "./keys";
import { namesOf } from "./services";
import { session } from "./session.svelte";
import { run, type Begun, type Line, type TurnRequest } from "./stream";
import type { Player } from "./voice";

export type Kind = "user-message" | "external-event" | "skip";
export type VersionInfo = [string, number];

export interface Place {
  graph: VersionInfo | null; // null: the conversation's own graph
  state: string;
}

export interface Step {
  from: Place;
  to: Place;
  condition: string;
}

const RUNNING = "tertulia.running";
const TRIES = 6;
const FAR = 15; // pages

interface Running {
  user: string; // nobody else who signs in here reads it, or goes on with it
  conversation: string;
  interaction: string;
  request: TurnRequest | null; // null if it holds a recording
  said: string;
  kind: Kind;
}

export class Turn {
  readonly key = newKey();
  interaction = $state("");
  said = $state("");
  kind = $state<Kind>("skip");
  at = $state("");
  reply = $state("");
  replyId = $state(""); // the message that the reply is, once it is kept
  saidId = $state(""); // the user's message, once it is known
  heard = $state(false); // it was spoken
  sender = $state("");
  voice = $state(false);
  status = $state<"running" | "settled" | "void">("settled");
  error = $state("");
  wait = 0; // seconds after which the server would take it
  firstMs = $state<number | null>(null);
  totalMs = $state<number | null>(null);
  lines: Line[] = []; // read it with `count`, which tells that it has grown
  count = $state(0);
  steps = $state.raw<Step[]>([]);
  calls = $state.raw<Call[]>([]);
  pending = $state.raw<Pending[]>([]); // calls that wait for the user's yes
  request: TurnRequest | null = null;
  rate = 0; // of its sound, if it is spoken
  unheard = $state(""); // words of a reply that was interrupted before they sounded

  /** Take a line of the stream in. Returns true if it is the last one. */
  take(line: Line): boolean {
    this.lines.push(line);
    this.count = this.lines.length;
    const event = line.event;
    if (event.type === "user-message-available") {
      this.said = String(event.user_message);
      this.saidId = String(event.message_id);
    }
    if (event.type === "current-agent-action") this.#step(event.action as Record<string, unknown>);
    if (event.type === "new-message" && typeof event.message === "string" && event.message !== "") {
      this.firstMs ??= line.ms;
      this.reply += this.rate ? spoken(event.transcript_alignment) : event.message;
    }
    if (event.type === "interaction-complete") {
      this.settle(String(event.full_message), String(event.interaction_id));
      this.replyId = String(event.message_id);
      this.totalMs = line.ms;
      return true;
    }
    if (event.type === "error") {
      this.fail(String(event.error_description));
      return true;
    }
    return false;
  }

  #condition = "";

  #step(action: Record<string, unknown>): void {
    this.calls = told(this.calls, action);
    if (action.type === "navigate-state-machine-exit-condition-selected") this.#condition = String(action.exit_condition);
    if (action.type !== "navigate-state-machine-state-transitioned") return;
    const place = (name: string): Place => ({
      graph: action[`${name}_state_machine_version_info`] as VersionInfo,
      state: String(action[name]),
    });
    this.steps = [...this.steps, { from: place("prev_state"), to: place("next_state"), condition: this.#condition }];
    this.#condition = "";
  }

  /** End with the whole reply; of one that was interrupted, with what was heard of it. */
  settle(full: string, interaction: string): void {
    this.unheard = this.rate && this.reply.startsWith(full) ? this.reply.slice(full.length).trimEnd() : "";
    this.reply = full;
    this.interaction = interaction;
    this.status = "settled";
  }

  fail(why: string): void {
    this.status = "void";
    this.error = why;
  }

  /** Go on with a turn that an error seemed to end. */
  revive(): void {
    this.status = "running";
    this.error = "";
  }

  begin(): void {
    this.lines = [];
    this.count = 0;
    this.steps = [];
    this.calls = [];
    this.pending = [];
    this.reply = "";
    this.unheard = "";
    this.error = "";
    this.wait = 0;
    this.firstMs = null;
    this.status = "running";
  }
}

export class Talk {
  id = $state("");
  about = $state.raw<Conversation | null>(null);
  turns = $state<Turn[]>([]);
  place = $state.raw<Place | null>(null);
  finished = $state(false);
  loading = $state(false);
  problem = $state("");
  opinions = $state.raw<Opinion[]>([]); // what people think of its messages
  names = $state.raw(new Map<string, string>()); // of these people
  older = $state<number | null>(null); // the token of the page before
  aloud = $state(false); // replies are spoken
  player: Player | null = null;
  #opening: Promise<unknown> | null = null; // while the player is loaded
  #abort = new AbortController();
  #leftAt = false;
  #hidden = false; // the insights of this conversation are not for the caller

  get running(): Turn | null {
    const last = this.turns.at(-1);
    return last?.status === "running" ? last : null;
  }

  get last(): Turn | null {
    return this.turns.at(-1) ?? null;
  }

  /** Have replies spoken from now on, or not; the next turn waits until they can be played. */
  speak(on: boolean): void {
    if (!on) this.player?.stop();
    this.aloud = on;
    if (!on || this.player) return;
    this.#opening = import("./voice").then(({ Player }) => (this.player ??= new Player())).catch(() => undefined); // words are shown all the same
  }

  /** Stop reading; a turn that runs goes on at the server. */
  leave(): void {
    this.player?.stop();
    this.#leftAt = true;
    this.#abort.abort();
  }

  // --- What was ---------------------------------------------------------------------------------------------------

  /** Open a conversation at its end, and go on with a turn that this tab began, or that is to be watched, and that may run still. */
  async open(id: string, watched = ""): Promise<void> {
    this.id = id;
    this.loading = true;
    const running = kept(id) ?? watching(id, watched);
    try {
      await this.#read(running !== null);
    } catch (error) {
      if (!(running && error instanceof ApiError && error.status === 404)) this.problem = explain(error);
    } finally {
      this.loading = false;
    }
    if (running && !this.turns.some((turn) => turn.interaction === running.interaction)) await this.#goOn(running);
    else if (running) forget(id);
  }

  async #read(begins: boolean): Promise<void> {
    const path = { ...here(), conversation_id: this.id };
    const list = await ask(client.GET("/v1/{organization}/conversation/", { params: { path: here(), query: { id: [this.id] } } }));
    this.about = list.conversations[0] ?? null;
    if (!this.about) {
      if (!begins) this.problem = "There is no such conversation, or it is not for you to see.";
      return;
    }
    this.finished = this.about.is_finished;
    const page = await ask(client.GET("/v1/{organization}/conversation/{conversation_id}/messages/", { params: { path, query: { limit: 100, message_type: SHOWN } } }));
    this.older = page.has_more ? page.continuation_token : null;
    this.turns = group(page.messages.toReversed());
    await this.#findPlace();
    void this.readOpinions().catch(() => undefined); // the conversation is there without them
  }

  async readOpinions(): Promise<void> {
    this.opinions = await listOpinions(this.id);
    const others = this.opinions.map((one) => one.user_id).filter((user) => user !== session.claims?.user && !this.names.has(user));
    if (others.length) this.names = new Map([...this.names, ...(await namesOf(others))]);
  }

  /** Read the page before the oldest message that is shown. */
  async readOlder(): Promise<void> {
    if (this.older === null) return;
    const path = { ...here(), conversation_id: this.id };
    const page = await ask(
      client.GET("/v1/{organization}/conversation/{conversation_id}/messages/", {
        params: { path, query: { limit: 100, continuation_token: this.older, message_type: SHOWN } },
      }),
    );
    this.older = page.has_more ? page.continuation_token : null;
    const before = group(page.messages.toReversed());
    const first = this.turns[0];
    const cut = before.at(-1);
    if (first && cut && first.interaction === cut.interaction) {
      cut.reply ||= first.reply;
      cut.replyId ||= first.replyId;
      this.turns = [...before, ...this.turns.slice(1)];
    } else this.turns = [...before, ...this.turns];
  }

  /** Find a turn, page after page backwards. Returns null if it is not there, or too far back. */
  async find(interaction: string): Promise<Turn | null> {
    for (let pages = 0; pages < FAR; pages++) {
      const turn = this.turns.find((one) => one.interaction === interaction);
      if (turn) return turn;
      if (this.older === null) return null;
      await this.readOlder();
    }
    return null;
  }

  async #findPlace(): Promise<void> {
    const last = this.turns.findLast((turn) => turn.interaction !== "");
    if (!last) return;
    await this.readSteps(last);
  }

  /** Read the states that a turn of the past went through, from its insights; callers who may not see them see none. */
  async readSteps(turn: Turn): Promise<void> {
    if (!turn.interaction || turn.lines.length) return;
    try {
      const insights = await this.#insights(turn);
      turn.calls = logged(insights);
      turn.pending = insights.pending_tool_calls ?? [];
      turn.steps = insights.state_transition_logs.map((log) => ({
        from: { graph: log.previous_service_hierarchical_state_machine_version_info as VersionInfo, state: String(log.previous_state) },
        to: { graph: log.next_service_hierarchical_state_machine_version_info as VersionInfo, state: String(log.next_state) },
        condition: String(log.previous_state_exit_condition_description ?? ""),
      }));
      if (turn === this.last) this.place = { graph: turn.steps.at(-1)?.to.graph ?? null, state: insights.current_state_name };
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
  }

  // --- What is -----------------------------------------------------------------------------------------------------

  async create(service: string, versionSet: string, said: string, kind: Kind, test = false): Promise<void> {
    const first = kind === "skip" || !said ? {} : { initial_message: said, initial_message_type: kind };
    await this.#send(
      { path: `/conversation/?${this.#format}`, method: "POST", json: { service_id: service, service_version_set_name: versionSet, ...first, ...(test && { is_test: true }) }, key: newKey() },
      said,
      said ? kind : "skip",
    );
  }

  async say(said: string, kind: Kind): Promise<void> {
    const form: Record<string, string> = { initial_message_type: kind };
    if (kind !== "skip") form.recorded_message = said;
    const path = `/conversation/${this.id}/interact?request_format=text&${this.#format}`;
    await this.#send({ path, method: "POST", form, key: newKey() }, said, kind);
  }

  get #format(): string {
    return this.aloud ? "response_format=voice&audio_format=pcm" : "response_format=text";
  }

  /** Say what was recorded; the server tells what it has heard. */
  async sayRecorded(recording: Blob): Promise<void> {
    const config = encodeURIComponent(JSON.stringify({ type: "wav" }));
    const path = `/conversation/${this.id}/interact?request_format=voice&request_audio_config=${config}&${this.#format}`;
    await this.#send({ path, method: "POST", form: { initial_message_type: "user-message", recorded_message: recording }, key: newKey() }, "", "user-message");
  }

  async #send(request: TurnRequest, said: string, kind: Kind): Promise<void> {
    const turn = new Turn();
    turn.request = request;
    turn.said = said;
    turn.kind = kind;
    turn.at = new Date().toISOString();
    this.turns.push(turn);
    await this.#run(this.turns.at(-1)!);
  }

  /** Send a turn again, under the same key: if the server has carried it out, its stream comes again and nothing is said twice. */
  async again(turn: Turn): Promise<void> {
    if (turn.request) await this.#run(turn);
  }

  async #run(turn: Turn): Promise<void> {
    this.player?.stop();
    turn.begin();
    let ended = false;
    try {
      if (this.aloud) await this.#opening;
      await run(
        turn.request!,
        this.#abort.signal,
        (begun) => {
          this.#begun(turn, begun);
        },
        (line) => {
          if (turn.rate && line.event.type === "new-message") this.player?.add(String(line.event.message), turn.rate);
          ended = this.#take(turn, line);
        },
      );
      if (!ended) await this.#follow(turn);
    } catch (error) {
      if (this.#leftAt) return;
      if (turn.interaction && turn.lines.length) await this.#follow(turn);
      else this.#void(turn, error);
    }
  }

  #begun(turn: Turn, begun: Begun): void {
    turn.interaction = begun.interaction;
    turn.rate = begun.rate;
    turn.voice = begun.rate > 0;
    this.id = begun.conversation;
    const recorded = Object.values(turn.request?.form ?? {}).some((value) => typeof value !== "string");
    turn.heard = recorded;
    keep({ user: whoever(), conversation: this.id, interaction: begun.interaction, request: recorded ? null : turn.request, said: turn.said, kind: turn.kind });
  }

  #take(turn: Turn, line: Line): boolean {
    const ended = turn.take(line);
    const to = turn.steps.at(-1)?.to;
    if (to) this.place = to;
    if (line.event.type === "interaction-complete" && line.event.conversation_completed) this.finished = true;
    if (ended) this.#settle();
    return ended;
  }

  // --- A call ------------------------------------------------------------------------------------------------------

  /** Begin a turn whose messages come over a call. */
  beginTurn(): Turn {
    const turn = new Turn();
    turn.at = new Date().toISOString();
    turn.begin();
    this.turns.push(turn);
    return this.turns.at(-1)!;
  }

  /** Take a message of a call in. */
  hear(turn: Turn, line: Line): void {
    if (line.event.type === "user-message-available") {
      turn.kind = "user-message";
      turn.heard = true; // or written during the call; then there is no recording of it
    }
    this.#take(turn, line);
  }

  /** Read again how a turn ended whose call was cut: a spoken one is kept as far as it was heard. */
  async lookBack(turn: Turn): Promise<void> {
    for (let tries = 0; tries < TRIES && !this.#leftAt; tries++) {
      const path = { ...here(), conversation_id: this.id };
      const page = await ask(client.GET("/v1/{organization}/conversation/{conversation_id}/messages/", { params: { path, query: { limit: 20, message_type: SHOWN } } })).catch(() => null);
      const known = new Set(this.turns.map((one) => one.interaction));
      const last = group(page?.messages.toReversed() ?? []).at(-1);
      if (last && !known.has(last.interaction)) {
        turn.said = last.said;
        turn.replyId = last.replyId;
        turn.settle(last.reply, last.interaction);
        return this.#settle();
      }
      await new Promise((resolve) => setTimeout(resolve, 250 * 2 ** tries));
    }
    turn.fail("The call was cut in the middle of this turn.");
  }

  #settle(): void {
    forget(this.id);
    const last = this.last;
    if (last?.status === "settled") void this.#refresh(last);
  }

  async #refresh(turn: Turn): Promise<void> {
    if (!this.#hidden) await this.#look(turn);
    const list = await ask(client.GET("/v1/{organization}/conversation/", { params: { path: here(), query: { id: [this.id] } } })).catch(() => null);
    this.about = list?.conversations[0] ?? this.about;
  }

  /** Look what a turn's stream has not told: the calls that wait for a yes, and where the agent stands if it has not moved. */
  async #look(turn: Turn): Promise<void> {
    try {
      const insights = await this.#insights(turn);
      turn.pending = insights.pending_tool_calls ?? [];
      this.place ??= { graph: null, state: insights.current_state_name };
    } catch (error) {
      this.#hidden = error instanceof ApiError && error.status === 403;
    }
  }

  #insights(turn: Turn): Promise<Insights> {
    const path = { ...here(), conversation_id: this.id, interaction_id: turn.interaction };
    return ask(client.GET("/v1/{organization}/conversation/{conversation_id}/interaction/{interaction_id}/insights", { params: { path } }));
  }

  #void(turn: Turn, error: unknown): void {
    turn.fail(explain(error));
    turn.wait = waitOf(error) ?? 0;
    forget(this.id);
  }

  /** Read on where a stream was cut, by the number of lines that came. */
  async #follow(turn: Turn): Promise<void> {
    for (let tries = 0; tries < TRIES && !this.#leftAt; tries++) {
      const path = `/conversation/${this.id}/interaction/${turn.interaction}/stream?after=${turn.lines.length}`;
      let ended = false;
      try {
        await run({ path, method: "GET" }, this.#abort.signal, (begun) => { turn.rate = begun.rate; turn.voice = begun.rate > 0; }, (line) => (ended = this.#take(turn, line)));
        if (ended) return;
      } catch (error) {
        if (this.#leftAt) return;
        if (error instanceof ApiError && error.status !== 0 && error.status < 500) return this.#void(turn, error);
      }
      await new Promise((resolve) => setTimeout(resolve, 400 * 2 ** tries));
    }
    if (!this.#leftAt) turn.fail("The connection was lost. The turn may have gone on: send it again, nothing is said twice.");
  }

  async #goOn(running: Running): Promise<void> {
    const turn = new Turn();
    turn.request = running.request;
    turn.said = running.said;
    turn.kind = running.kind;
    turn.interaction = running.interaction;
    turn.at = new Date().toISOString();
    turn.begin();
    this.turns.push(turn);
    const followed = this.turns.at(-1)!;
    await this.#follow(followed);
    if (running.request === null && !followed.said && followed.status === "settled") await this.#hearSaid(followed);
  }

  /** Read what was said in a turn that somebody else began: its stream does not tell. */
  async #hearSaid(turn: Turn): Promise<void> {
    const path = { ...here(), conversation_id: this.id };
    const query = { interaction_id: [turn.interaction], message_type: SHOWN };
    const page = await ask(client.GET("/v1/{organization}/conversation/{conversation_id}/messages/", { params: { path, query } })).catch(() => null);
    const [told] = group(page?.messages.toReversed() ?? []);
    if (!told) return;
    turn.said = told.said;
    turn.kind = told.kind;
    turn.replyId = told.replyId;
  }

  async cancel(): Promise<void> {
    const turn = this.running;
    if (!turn?.interaction) return;
    const path = { ...here(), conversation_id: this.id, interaction_id: turn.interaction };
    await ask(client.POST("/v1/{organization}/conversation/{conversation_id}/interaction/{interaction_id}/cancel", { params: { path } })).catch((error: unknown) => {
      if (!(error instanceof ApiError && error.status === 409)) throw error; // complete: it was too late
    });
  }

  async finish(): Promise<void> {
    await ask(client.POST("/v1/{organization}/conversation/{conversation_id}/finish/", { params: { path: { ...here(), conversation_id: this.id } } }));
    this.finished = true;
    if (this.about) this.about = { ...this.about, is_finished: true };
  }

  async suggest(): Promise<string[]> {
    const last = this.turns.findLast((turn) => turn.status === "settled" && turn.interaction);
    if (!last) return [];
    const path = { ...here(), conversation_id: this.id, interaction_id: last.interaction };
    const got = await ask(client.POST("/v1/{organization}/conversation/{conversation_id}/interaction/{interaction_id}/recommend_responses", { params: { path }, body: {} }));
    return got.recommended_responses;
  }
}

const SHOWN: Message["message_type"][] = ["user-message", "agent-message", "external-event"];

/** The words of a piece of sound: pairs of a time and a character. */
function spoken(alignment: unknown): string {
  return Array.isArray(alignment) ? alignment.map((pair: [number, string]) => pair[1]).join("") : "";
}

/** Make turns of messages, the oldest first. */
function group(messages: Message[]): Turn[] {
  const turns: Turn[] = [];
  for (const message of messages) {
    let turn = turns.at(-1);
    if (!turn || turn.interaction !== message.interaction_id) {
      turn = new Turn();
      turn.interaction = message.interaction_id;
      turn.at = message.created_at;
      turns.push(turn);
    }
    if (message.message_type === "agent-message") {
      turn.reply = message.message;
      turn.replyId = message.id;
      turn.sender = message.sender;
      turn.voice = message.format === "voice";
    } else {
      turn.said = turn.said ? `${turn.said}\n\n${message.message}` : message.message;
      if (message.format === "voice") [turn.saidId, turn.heard] = [message.id, true];
      turn.kind = message.message_type === "external-event" && turn.kind !== "user-message" ? "external-event" : "user-message";
    }
  }
  return turns;
}

// --- The turn that runs, kept over a reload of the page -------------------------------------------------------------

function whoever(): string {
  return `${session.claims?.organization} ${session.claims?.user}`;
}

function keep(running: Running): void {
  sessionStorage.setItem(RUNNING, JSON.stringify(running));
}

function forget(conversation: string): void {
  const text = sessionStorage.getItem(RUNNING);
  if (text !== null && (JSON.parse(text) as Running).conversation === conversation) sessionStorage.removeItem(RUNNING);
}

/** A turn that somebody else began, for this page to follow. */
function watching(conversation: string, interaction: string): Running | null {
  return interaction ? { user: whoever(), conversation, interaction, request: null, said: "", kind: "skip" } : null;
}

function kept(conversation: string): Running | null {
  const text = sessionStorage.getItem(RUNNING);
  const running = text === null ? null : (JSON.parse(text) as Running);
  return running?.conversation === conversation && running.user === whoever() ? running : null;
}
