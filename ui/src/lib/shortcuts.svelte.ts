/** Shortcuts of a single key, which can be switched off: they are in the way of who speaks to a machine. */

const NAME = "tertulia.shortcuts";

class Keys {
  on = $state(localStorage.getItem(NAME) !== "off");

  set(on: boolean): void {
    this.on = on;
    if (on) localStorage.removeItem(NAME);
    else localStorage.setItem(NAME, "off");
  }

  /** Tell if an event is a shortcut of one key: nothing is being written, and no modifier is held. */
  single(event: KeyboardEvent): boolean {
    const at = event.target as HTMLElement;
    const writing = at.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(at.tagName) || document.querySelector("dialog[open]") !== null;
    return this.on && !writing && !event.ctrlKey && !event.metaKey && !event.altKey;
  }
}

export const keys = new Keys();
