/** Sound: a reply played while it comes, and a message recorded from the microphone. */

import worklet from "./microphone.worklet.js?url";

const RATE = 16_000;

/** Plays pieces of 16-bit samples one after the other, without gaps. */
export class Player {
  #context: AudioContext | null = null;
  #end = 0;
  #playing = new Set<AudioBufferSourceNode>();

  /** Play a piece after those before it. */
  add(base64: string, rate: number): void {
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    const samples = new Int16Array(bytes.buffer, 0, bytes.length >> 1);
    if (!samples.length) return;
    this.#context ??= new AudioContext();
    const buffer = this.#context.createBuffer(1, samples.length, rate);
    buffer.copyToChannel(Float32Array.from(samples, (sample) => sample / 32768), 0);
    const source = this.#context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.#context.destination);
    source.onended = () => this.#playing.delete(source);
    this.#end = Math.max(this.#end, this.#context.currentTime + 0.02);
    source.start(this.#end);
    this.#end += buffer.duration;
    this.#playing.add(source);
  }

  /** Be quiet at once. */
  stop(): void {
    for (const source of this.#playing) source.stop();
    this.#playing.clear();
    this.#end = 0;
  }
}

export interface Recording {
  /** End it. Returns a WAV file, 16-bit, mono. */
  end(): Blob;
  cancel(): void;
}

/** Record from the microphone, and tell how loud it is, from 0 to 1, some 16 times a second. */
export async function record(level: (loud: number) => void): Promise<Recording> {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true } });
  const context = new AudioContext({ sampleRate: RATE });
  await context.audioWorklet.addModule(worklet);
  const node = new AudioWorkletNode(context, "microphone");
  const blocks: Float32Array[] = [];
  node.port.onmessage = ({ data }: MessageEvent<Float32Array>) => {
    blocks.push(data);
    level(Math.min(1, Math.sqrt(data.reduce((sum, sample) => sum + sample * sample, 0) / data.length) * 4));
  };
  context.createMediaStreamSource(stream).connect(node);
  const cancel = (): void => {
    for (const track of stream.getTracks()) track.stop();
    void context.close();
  };
  return {
    cancel,
    end() {
      cancel();
      return wav(blocks);
    },
  };
}

function wav(blocks: Float32Array[]): Blob {
  const samples = Int16Array.from(blocks.flatMap((block) => Array.from(block, (sample) => Math.max(-1, Math.min(1, sample)) * 32767)));
  const head = new DataView(new ArrayBuffer(44));
  const write = (at: number, text: string) => [...text].forEach((character, n) => head.setUint8(at + n, character.charCodeAt(0)));
  write(0, "RIFF");
  head.setUint32(4, 36 + samples.byteLength, true);
  write(8, "WAVEfmt ");
  head.setUint32(16, 16, true);
  head.setUint16(20, 1, true);
  head.setUint16(22, 1, true);
  head.setUint32(24, RATE, true);
  head.setUint32(28, RATE * 2, true);
  head.setUint16(32, 2, true);
  head.setUint16(34, 16, true);
  write(36, "data");
  head.setUint32(40, samples.byteLength, true);
  return new Blob([head.buffer, samples.buffer], { type: "audio/wav" });
}
