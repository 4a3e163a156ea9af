/** Markdown of models as safe HTML: no script, no style, no picture or link that asks another host by itself. */

import DOMPurify from "dompurify";
import { marked } from "marked";

const TAGS = ["p", "br", "strong", "em", "del", "code", "pre", "ul", "ol", "li", "blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "a", "table", "thead", "tbody", "tr", "th", "td"];

DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName === "A") {
    node.setAttribute("target", "_blank");
    node.setAttribute("rel", "noopener noreferrer nofollow");
  }
});

const TOO_DEEP = /^(?:[ \t]*(?:>|[-*+]|\d{1,9}[.)])){33}/m;

/** Make safe HTML of Markdown. Throws a RangeError for quotes or lists more than 32 deep: the parser's work grows with the square. */
export function render(text: string): string {
  if (TOO_DEEP.test(text)) throw new RangeError("too deep");
  const html = marked.parse(text, { async: false, gfm: true, breaks: true });
  return DOMPurify.sanitize(html, { ALLOWED_TAGS: TAGS, ALLOWED_ATTR: ["href", "start"], ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i });
}
