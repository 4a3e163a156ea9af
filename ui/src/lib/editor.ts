/** The editor of JSON, fetched when it is needed. It lives in a shadow root, where its styles need no exception from the policy. */

import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { json, jsonParseLinter } from "@codemirror/lang-json";
import { bracketMatching, foldGutter, HighlightStyle, indentOnInput, syntaxHighlighting, syntaxTree, ensureSyntaxTree } from "@codemirror/language";
import { linter, lintGutter, setDiagnostics, type Diagnostic } from "@codemirror/lint";
import { unifiedMergeView } from "@codemirror/merge";
import { highlightSelectionMatches, search, searchKeymap } from "@codemirror/search";
import { EditorState, type Extension } from "@codemirror/state";
import { drawSelection, EditorView, highlightActiveLine, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import type { Problem } from "./api";

export interface Editor {
  text(): string;
  set(text: string): void;
  mark(problems: Problem[]): void;
  jump(path: (string | number)[]): void;
  destroy(): void;
}

const colours = HighlightStyle.define([
  { tag: tags.propertyName, color: "var(--accent)" },
  { tag: tags.string, color: "var(--ink)" },
  { tag: [tags.number, tags.bool, tags.null], color: "var(--warn)" },
  { tag: tags.punctuation, color: "var(--ink-soft)" },
]);

const looks = EditorView.theme({
  "&": { height: "100%", fontSize: "0.8125rem", backgroundColor: "var(--surface)", color: "var(--ink)" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.6", overflow: "auto" },
  ".cm-content": { maxWidth: "130ch", caretColor: "var(--accent)", padding: "0.6rem 0" },
  ".cm-gutters": { backgroundColor: "var(--sunken)", color: "var(--ink-soft)", border: "none", borderRight: "1px solid var(--line)" },
  ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "color-mix(in srgb, var(--accent-wash) 45%, transparent)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": { backgroundColor: "var(--accent-line) !important" },
  ".cm-cursor": { borderLeftColor: "var(--accent)" },
  ".cm-panels": { backgroundColor: "var(--raised)", color: "var(--ink)" },
  ".cm-tooltip": { backgroundColor: "var(--raised)", color: "var(--ink)", border: "1px solid var(--line)", borderRadius: "8px" },
  ".cm-diagnostic": { fontFamily: "var(--sans)", padding: "0.4rem 0.7rem" },
  ".cm-changedLine, .cm-insertedLine": { backgroundColor: "var(--accent-wash) !important" },
  ".cm-changedText": { background: "var(--accent-line) !important" },
  ".cm-changedText *": { color: "var(--ink) !important" },
  ".cm-deletedChunk": { backgroundColor: "var(--bad-wash) !important", color: "var(--ink)" },
  ".cm-deletedChunk .cm-deletedText": { background: "color-mix(in srgb, var(--bad) 25%, transparent) !important" },
  ".cm-collapsedLines": { background: "var(--sunken)", color: "var(--ink-soft)", fontFamily: "var(--sans)", padding: "0.25rem 0.9rem" },
  ".cm-collapsedLines:before, .cm-collapsedLines:after": { content: "none" },
  ".cm-changedLineGutter": { background: "var(--accent)" },
  ".cm-deletedLineGutter": { background: "var(--bad)" },
  ".cm-changeGutter": { width: "4px" },
});

function common(label: string): Extension[] {
  return [
    lineNumbers(),
    foldGutter(),
    history(),
    drawSelection(),
    bracketMatching(),
    indentOnInput(),
    highlightActiveLine(),
    highlightSelectionMatches(),
    search({ top: true }),
    keymap.of([...defaultKeymap, ...historyKeymap, ...searchKeymap]),
    json(),
    syntaxHighlighting(colours),
    looks,
    EditorView.lineWrapping,
    EditorView.contentAttributes.of({ "aria-label": label, tabindex: "0" }),
  ];
}

export function open(host: HTMLElement, label: string, doc: string, changed: (text: string) => void): Editor {
  const root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
  let problems: Problem[] = [];
  const broken = jsonParseLinter();
  const view = new EditorView({
    root,
    parent: root,
    state: EditorState.create({
      doc,
      extensions: [
        ...common(label),
        lintGutter(),
        linter((current) => [...broken(current), ...problems.map((problem) => diagnose(current, problem))], { delay: 300 }),
        EditorView.updateListener.of((update) => {
          if (!update.docChanged) return;
          problems = [];
          changed(update.state.doc.toString());
        }),
      ],
    }),
  });
  return {
    text: () => view.state.doc.toString(),
    set: (text) => view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } }),
    mark(found) {
      problems = found;
      view.dispatch(setDiagnostics(view.state, [...broken(view), ...found.map((problem) => diagnose(view, problem))]));
    },
    jump(path) {
      const at = locate(view.state, path);
      view.dispatch({ selection: { anchor: at.from }, effects: EditorView.scrollIntoView(at.from, { y: "center" }) });
      view.focus();
    },
    destroy: () => view.destroy(),
  };
}

/** Show a text with what is different from an earlier one marked in it. */
export function compare(host: HTMLElement, label: string, before: string, after: string): { destroy(): void } {
  const root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
  const view = new EditorView({
    root,
    parent: root,
    state: EditorState.create({
      doc: after,
      extensions: [...common(label), EditorState.readOnly.of(true), unifiedMergeView({ original: before, mergeControls: false, collapseUnchanged: { margin: 3, minSize: 6 } })],
    }),
  });
  return { destroy: () => view.destroy() };
}

function diagnose(view: EditorView, problem: Problem): Diagnostic {
  return { ...locate(view.state, problem.loc), severity: "error", message: problem.msg };
}

/** Find the value that a path leads to. Returns the nearest place that is there. */
function locate(state: EditorState, path: (string | number)[]): { from: number; to: number } {
  const tree = ensureSyntaxTree(state, state.doc.length, 500) ?? syntaxTree(state);
  let node = tree.topNode.firstChild;
  for (const step of path) {
    if (!node) break;
    let next = null;
    if (typeof step === "number" && node.name === "Array") {
      next = node.getChildren("Object").concat(node.getChildren("Array"), node.getChildren("String"), node.getChildren("Number"), node.getChildren("True"), node.getChildren("False"), node.getChildren("Null")).sort((a, b) => a.from - b.from)[step] ?? null;
    } else if (node.name === "Object") {
      for (const property of node.getChildren("Property")) {
        const name = property.getChild("PropertyName");
        if (name && state.sliceDoc(name.from, name.to) === JSON.stringify(String(step))) next = property.lastChild;
      }
    }
    if (!next) break;
    node = next;
  }
  if (!node) return { from: 0, to: Math.min(1, state.doc.length) };
  const line = state.doc.lineAt(node.from);
  return { from: node.from, to: Math.max(Math.min(node.to, line.to), node.from) };
}
