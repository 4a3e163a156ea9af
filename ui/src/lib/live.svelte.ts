/** A call: a conversation held by voice over a WebSocket, in which either side may interrupt the other. */

import { here } from "./api";
import { session } from "./session.svelte";
import type { TurnEvent } from "./stream";
import type { Talk, Turn } from "./talk.svelte";
import { listen, Player, samplesOf, type Microphone } from "./voice";

const VOICE_RATE = 24_000;
const BARS = 72;
const TRIES = 4;
/** What closes a call for good; after anything else it is connected again. */
const GOOD = new Set([1000, 1003, 1007, 1008, 1009, 4408]);
const WHY: Record<number, string> = {
  1008: "The call has ended: the token has expired, or your role has changed.",
  1011: "The call has ended: something went wrong at the server.",
  4408: "The call has ended: nobody has said anything for five minutes.",
};

export type Phase = "connecting" | "listening" | "hearing" | "thinking" | "speaking";

export interface Start {
  service: string;
  versionSet: string;
}

export class Call {
  phase = $state<Phase>("connecting");
  muted = $state(false);
  problem = $state("");
  /** How loud the two were, the latest last: pairs of the user's and the agent's. */
  levels = $state.raw<[number, number][]>([]);
  over = $state(false);
  #talk: Talk;
  #start: Start;
  #player = new Player();
  #microphone: Microphone | null = null;
  #socket: WebSocket | null = null;
  #turn: Turn | null = null;
  #since = 0; // when the turn that runs began, or what it answers was said
  #failures = 0;

  constructor(talk: Talk, start: Start) {
    this.#talk = talk;
    this.#start = start;
  }

  /** Open the microphone and the connection. Raises what the browser says if there is no microphone. */
  async begin(): Promise<void> {
    this.#microphone = await listen((block, loud) => this.#hear(block, loud));
    if (this.over) this.#microphone.close();
    else this.#connect();
  }

  mute(on: boolean): void {
    this.muted = on;
    if (on) this.#send("new-audio-message", { audio: null });
  }

  /** Write to the agent; one that speaks falls silent. */
  say(text: string, kind: string): void {
    this.#player.stop();
    this.#since = performance.now();
    this.#send("new-text-message", { text, message_type: kind });
  }

  finish(): void {
    this.#player.stop();
    this.#send("finish-conversation");
  }

  /** Hang up. The conversation stays open. */
  end(problem = ""): void {
    if (this.over) return;
    this.over = true;
    this.problem = problem;
    this.#microphone?.close();
    this.#player.close();
    this.#socket?.close(1000);
    if (this.#turn?.status === "running") void this.#talk.lookBack(this.#turn);
    this.#turn = null;
  }

  #connect(): void {
    const { organization } = here();
    const address = `${location.origin.replace(/^http/, "ws")}/v1/${organization}/conversation/converse_realtime?response_format=voice&audio_format=pcm`;
    const socket = new WebSocket(address, [`bearer.authorization.amigo.ai.${session.token}`]);
    this.#socket = socket;
    this.phase = "connecting";
    socket.onopen = () => {
      this.#send("switch-vad-mode", { vad_mode_on: true });
      if (this.#talk.id) this.#send("continue-conversation", { conversation_id: this.#talk.id });
      else this.#send("start-conversation", { service_id: this.#start.service, service_version_set_name: this.#start.versionSet });
    };
    socket.onmessage = ({ data }: MessageEvent<string>) => this.#take(data);
    socket.onclose = ({ code }) => {
      if (socket === this.#socket && !this.over) this.#closed(code);
    };
  }

  #closed(code: number): void {
    if (GOOD.has(code)) return this.end(WHY[code] ?? "");
    this.#failures += 1;
    if (this.#failures >= TRIES) return this.end(WHY[code] ?? "The call cannot be connected. Is the server running?");
    this.#player.stop();
    if (this.#turn?.status === "running") void this.#talk.lookBack(this.#turn);
    this.#turn = null;
    this.phase = "connecting";
    setTimeout(() => this.over || this.#connect(), 300 * 2 ** this.#failures);
  }

  #send(type: string, fields: object = {}): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ type: `client.${type}`, ...fields }));
  }

  #hear(block: Float32Array, loud: number): void {
    this.levels = [...this.levels, [this.muted ? 0 : loud, this.#player.level] as [number, number]].slice(-BARS);
    if (this.phase === "speaking" && !this.#player.playing && this.#turn === null) this.phase = "listening";
    if (this.muted || this.phase === "connecting") return;
    const bytes = new Uint8Array(samplesOf(block).buffer);
    const audio = btoa(String.fromCharCode(...bytes));
    const audio_config = { type: "pcm", frame_rate: this.#microphone?.rate ?? 16_000, n_channels: 1, sample_width: 2 };
    this.#send("new-audio-message", { audio, audio_config });
  }

  // --- What the server says ---------------------------------------------------------------------------------------

  #take(text: string): void {
    const message = JSON.parse(text) as TurnEvent;
    const event: TurnEvent = { ...message, type: message.type.replace(/^server\./, "") };
    switch (event.type) {
      case "conversation-created":
        return this.#created(String(event.conversation_id));
      case "vad-speech-started":
        this.#player.stop();
        this.phase = "hearing";
        return;
      case "vad-speech-ended":
        this.#since = performance.now();
        this.phase = "thinking";
        return;
      case "vad-reset-zero":
        this.phase = this.#turn ? "thinking" : "listening";
        return;
      case "vad-mode-switched":
        return;
      case "error":
        return this.#failed(event);
      default:
        return this.#say(event);
    }
  }

  #created(conversation: string): void {
    this.#failures = 0;
    this.phase = "listening";
    if (this.#talk.id === conversation) return;
    this.#talk.id = conversation;
    this.#since = performance.now();
    this.#begin();
  }

  #begin(): Turn {
    this.#turn = this.#talk.beginTurn();
    this.#turn.rate = VOICE_RATE;
    this.#turn.voice = true;
    if (this.phase !== "hearing") this.phase = "thinking";
    return this.#turn;
  }

  #failed(event: TurnEvent): void {
    // An error may be about what the client sent meanwhile; a turn whose messages go on is none that failed.
    if (this.#turn) this.#hand(this.#turn, event);
    else if (this.#talk.id) this.problem = String(event.error_description);
    else this.end(String(event.error_description));
  }

  #say(event: TurnEvent): void {
    if (event.type === "user-message-available" && this.#turn?.status !== "running") this.#turn = null;
    const turn = this.#turn ?? this.#begin();
    if (turn.status === "void") turn.revive();
    if (event.type === "new-message" && event.message !== "") {
      this.#player.add(String(event.message), VOICE_RATE);
      if (this.phase !== "hearing") this.phase = "speaking";
    }
    this.#hand(turn, event);
    if (event.type === "interaction-complete") {
      this.#turn = null;
      if (this.phase === "thinking") this.phase = "listening";
    }
  }

  #hand(turn: Turn, event: TurnEvent): void {
    this.#talk.hear(turn, { text: JSON.stringify(event), event, ms: performance.now() - this.#since });
  }
}
