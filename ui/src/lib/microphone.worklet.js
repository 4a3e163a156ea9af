/** Hands out what the microphone hears, in blocks of 1,024 samples. */
class Microphone extends AudioWorkletProcessor {
  #block = new Float32Array(1024);
  #filled = 0;

  process(inputs) {
    const heard = inputs[0]?.[0];
    if (!heard) return true;
    for (const sample of heard) {
      this.#block[this.#filled++] = sample;
      if (this.#filled === this.#block.length) {
        this.port.postMessage(this.#block.slice());
        this.#filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("microphone", Microphone);
