/** What `tertulia dev` says of the folder that it watches; a server that watches none marks no page, and is not asked. */

import { session } from "./session.svelte";

interface Place {
  file: string;
  line: number;
  column: number;
  text: string;
}

export interface Word {
  number: number;
  state: "begun" | "applied" | "held" | "wrong";
  changes?: string[]; // what was applied
  wrong?: string[]; // where conversations went otherwise than their files say
  text?: string;
  problems?: Place[];
}

const PAUSE_MS = 1_000;

class Watched {
  word = $state.raw<Word | null>(null);
  /** How often something was applied since this page was loaded: what is shown of services, agents and graphs is read again. */
  applied = $state(0);
  #number = 0;

  begin(): void {
    if (document.querySelector('meta[name="tertulia-watched"]')) void this.#follow();
  }

  async #follow(): Promise<void> {
    for (;;) {
      const word = document.hidden || session.token === null ? null : await this.#ask();
      if (word === null) await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      else if (word.number !== this.#number) this.#take(word);
    }
  }

  async #ask(): Promise<Word | null> {
    try {
      const response = await fetch(`/ui/watched?after=${this.#number}`, { headers: { Authorization: `Bearer ${session.token}` } });
      return response.ok ? ((await response.json()) as Word) : null;
    } catch {
      return null; // the server is being started again
    }
  }

  #take(word: Word): void {
    const first = this.#number === 0;
    this.#number = word.number;
    if (word.state === "applied" && !first) this.applied += 1;
    this.word = first && word.state !== "wrong" && !word.wrong?.length ? null : word;
  }
}

export const watched = new Watched();
