/** Sound: a reply played while it comes, and what the microphone hears. */

import worklet from "./microphone.worklet.js?url";

const RATE = 16_000;

/** Plays pieces of 16-bit samples one after the other, without gaps. */
export class Player {
  #context: AudioContext | null = null;
  #ear: AnalyserNode | null = null;
  #end = 0;
  #playing = new Set<AudioBufferSourceNode>();

  /** Play a piece after those before it. */
  add(base64: string, rate: number): void {
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    const samples = new Int16Array(bytes.buffer, 0, bytes.length >> 1);
    if (!samples.length) return;
    const context = this.#open();
    const buffer = context.createBuffer(1, samples.length, rate);
    buffer.copyToChannel(Float32Array.from(samples, (sample) => sample / 32768), 0);
    const source = context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.#ear!);
    source.onended = () => this.#playing.delete(source);
    this.#end = Math.max(this.#end, context.currentTime + 0.02);
    source.start(this.#end);
    this.#end += buffer.duration;
    this.#playing.add(source);
  }

  #open(): AudioContext {
    if (this.#context === null) {
      this.#context = new AudioContext();
      this.#ear = this.#context.createAnalyser();
      this.#ear.fftSize = 1024;
      this.#ear.connect(this.#context.destination);
    }
    return this.#context;
  }

  get playing(): boolean {
    return this.#playing.size > 0;
  }

  /** How loud it is now, from 0 to 1. */
  get level(): number {
    if (!this.#ear || !this.playing) return 0;
    const samples = new Float32Array(this.#ear.fftSize);
    this.#ear.getFloatTimeDomainData(samples);
    return loudness(samples);
  }

  /** Be quiet at once. */
  stop(): void {
    for (const source of this.#playing) source.stop();
    this.#playing.clear();
    this.#end = 0;
  }

  close(): void {
    this.stop();
    void this.#context?.close();
    this.#context = this.#ear = null;
  }
}

function loudness(samples: Float32Array): number {
  return Math.min(1, Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length) * 4);
}

export interface Microphone {
  rate: number; // of its blocks, in samples a second
  close(): void;
}

/** Open the microphone, and hand out what it hears, some 16 times a second, with how loud it is, from 0 to 1. */
export async function listen(heard: (block: Float32Array, loud: number) => void): Promise<Microphone> {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true } });
  const [context, source] = connect(stream);
  const close = (): void => {
    for (const track of stream.getTracks()) track.stop();
    void context.close();
  };
  try {
    await context.audioWorklet.addModule(worklet);
  } catch (error) {
    close();
    throw error;
  }
  const node = new AudioWorkletNode(context, "microphone");
  node.port.onmessage = ({ data }: MessageEvent<Float32Array>) => heard(data, loudness(data));
  source.connect(node);
  return { rate: context.sampleRate, close };
}

/** Some browsers resample what the microphone hears, and others want a context at its own rate. */
function connect(stream: MediaStream): [AudioContext, MediaStreamAudioSourceNode] {
  const resampling = new AudioContext({ sampleRate: RATE });
  try {
    return [resampling, resampling.createMediaStreamSource(stream)];
  } catch {
    void resampling.close();
    const own = new AudioContext();
    return [own, own.createMediaStreamSource(stream)];
  }
}

/** Tell why a microphone cannot be used. */
export function whyDeaf(error: unknown): string {
  if (!(error instanceof DOMException)) return `The microphone cannot be used: ${String(error)}`;
  if (error.name === "NotAllowedError") return "The browser does not let this page hear the microphone.";
  if (error.name === "NotFoundError") return "There is no microphone here.";
  return `The microphone cannot be used: ${error.message}`;
}

export interface Recording {
  /** End it. Returns a WAV file, 16-bit, mono. */
  end(): Blob;
  cancel(): void;
}

/** Record from the microphone, and tell how loud it is. */
export async function record(level: (loud: number) => void): Promise<Recording> {
  const blocks: Float32Array[] = [];
  const microphone = await listen((block, loud) => {
    blocks.push(block);
    level(loud);
  });
  return {
    cancel: microphone.close,
    end() {
      microphone.close();
      return wav(blocks, microphone.rate);
    },
  };
}

/** Make 16-bit samples of what a microphone gave. */
export function samplesOf(block: Float32Array): Int16Array<ArrayBuffer> {
  return Int16Array.from(block, (sample) => Math.max(-1, Math.min(1, sample)) * 32767);
}

function wav(blocks: Float32Array[], rate: number): Blob {
  const samples = blocks.map(samplesOf);
  const size = samples.reduce((sum, block) => sum + block.byteLength, 0);
  const head = new DataView(new ArrayBuffer(44));
  const write = (at: number, text: string) => [...text].forEach((character, n) => head.setUint8(at + n, character.charCodeAt(0)));
  write(0, "RIFF");
  head.setUint32(4, 36 + size, true);
  write(8, "WAVEfmt ");
  head.setUint32(16, 16, true);
  head.setUint16(20, 1, true);
  head.setUint16(22, 1, true);
  head.setUint32(24, rate, true);
  head.setUint32(28, rate * 2, true);
  head.setUint16(32, 2, true);
  head.setUint16(34, 16, true);
  write(36, "data");
  head.setUint32(40, size, true);
  return new Blob([head.buffer, ...samples.map((block) => block.buffer)], { type: "audio/wav" });
}
