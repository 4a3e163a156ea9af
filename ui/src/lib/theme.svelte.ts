/** Light, dark, or as the system has it. */

export type Theme = "light" | "dark" | "system";
const NAME = "tertulia.theme";

class ThemeChoice {
  value = $state<Theme>("system");

  begin(): void {
    const kept = localStorage.getItem(NAME);
    this.choose(kept === "light" || kept === "dark" ? kept : "system");
  }

  choose(value: Theme): void {
    this.value = value;
    if (value === "system") {
      delete document.documentElement.dataset.theme;
      localStorage.removeItem(NAME);
    } else {
      document.documentElement.dataset.theme = value;
      localStorage.setItem(NAME, value);
    }
  }
}

export const theme = new ThemeChoice();
