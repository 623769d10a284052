import assert from "node:assert/strict";
import { test } from "node:test";
import { collapse, cutAt } from "../richtext/collapse";
import { directionOf } from "../richtext/direction";
import { countOnlyEmoji, graphemeBefore } from "../richtext/emoji";
import { safeHref, splitLinks } from "../richtext/links";
import { limitMarks, withoutControls } from "../richtext/bidi";
import { parseText, type Inline } from "../richtext/parse";

const inlines = (text: string, mentions: Parameters<typeof parseText>[1] = []): readonly Inline[] =>
  parseText(text, mentions).blocks.flatMap((block) => (block.kind === "code" ? [] : block.inlines));
const links = (text: string): string[] => inlines(text).flatMap((inline) => (inline.kind === "link" ? [inline.href] : []));
const said = (text: string): string => parseText(text).blocks.map((block) => (block.kind === "code" ? block.text : block.inlines.map((inline) => inline.text).join(""))).join("\n");

/** Each of them must come out as text, letter by letter, and lead nowhere but to the web. */
const VECTORS = [
  `<script>alert(1)</script>`,
  `<img src=x onerror=alert(1)>`,
  `<svg onload=alert(1)>`,
  `<svg/onload=alert(1)//`,
  `<iframe src="javascript:alert(1)"></iframe>`,
  `<body onload=alert(1)>`,
  `<a href="javascript:alert(1)">x</a>`,
  `<details open ontoggle=alert(1)>`,
  `<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>`,
  `"><script>alert(1)</script>`,
  `'><img src=x onerror=alert(1)>`,
  `--><script>alert(1)</script><!--`,
  `</textarea><script>alert(1)</script>`,
  `<style>@import'http://evil.example/x.css'</style>`,
  `<link rel=stylesheet href=//evil.example>`,
  `<meta http-equiv=refresh content="0;url=javascript:alert(1)">`,
  `<object data="javascript:alert(1)">`,
  `<embed src="data:text/html;base64,PHNjcmlwdD4=">`,
  `<video><source onerror=alert(1)></video>`,
  `<input autofocus onfocus=alert(1)>`,
  `javascript:alert(1)`,
  `JaVaScRiPt:alert(1)`,
  `javascript://example.com/%0aalert(1)`,
  `data:text/html,<script>alert(1)</script>`,
  `vbscript:msgbox(1)`,
  `[x](javascript:alert(1))`,
  `![x](x"onerror="alert(1))`,
  `&lt;script&gt;alert(1)&lt;/script&gt;`,
  `\u003cscript\u003ealert(1)\u003c/script\u003e`,
  `<a href="java&#10;script:alert(1)">x</a>`,
  `{{constructor.constructor('alert(1)')()}}`,
  `file:///etc/passwd blob:https://example.com/x`,
];

test("markup and dangerous addresses stay text", () => {
  assert.ok(VECTORS.length >= 30);
  for (const vector of VECTORS) {
    assert.equal(said(vector), vector);
    for (const href of links(vector)) assert.match(href, /^(?:https?|mailto):/);
  }
  for (const address of ["javascript:alert(1)", "data:text/html,x", "vbscript:x", "file:///x", "blob:https://x/y", " javascript:alert(1)", "https://user:pass@example.com", "//x", "x"]) {
    assert.equal(safeHref(address), undefined, address);
  }
});

test("addresses end where the sentence goes on", () => {
  assert.deepEqual(links("see https://example.com/a_(b), or (https://example.org)."), ["https://example.com/a_(b)", "https://example.org/"]);
  assert.deepEqual(links("看https://example.com/路 和https://example.cn。"), ["https://example.com/", "https://example.cn/"]);
  assert.deepEqual(links("write to ann@example.com!"), ["mailto:ann@example.com"]);
  assert.deepEqual(links("`https://example.com` and ann@localhost"), []);
  assert.deepEqual(splitLinks("https://"), [{ text: "https://" }]);
});

test("code is not read further", () => {
  assert.deepEqual(parseText("a\n```rust\nlet x = `<b>`;\n\n```\nb").blocks.map(({ kind }) => kind), ["paragraph", "code", "paragraph"]);
  assert.deepEqual(inlines("run `rm @bob`", [{ name: "bob", user: "bob" }]), [{ kind: "text", text: "run " }, { kind: "code", text: "rm @bob" }]);
  assert.equal(parseText("```\nopen").blocks[0]?.kind, "code");
});

test("the majority of strong characters decides the direction of each block", () => {
  assert.equal(directionOf("hello שלום"), "ltr");
  assert.equal(directionOf("API שלום לכולם"), "rtl");
  assert.equal(directionOf("https://example.com/long/address مرحبا"), "rtl");
  assert.equal(directionOf("123 !?"), undefined);
  assert.equal(directionOf("你好"), "ltr");
  const { blocks } = parseText("hello there\n12:30\nשלום לכולם");
  assert.deepEqual(blocks.map((block) => block.kind === "paragraph" && block.direction), ["ltr", "rtl"]);
});

test("overrides of direction become visible", () => {
  assert.deepEqual(inlines("a\u202egpj.exe\u202c"), [
    { kind: "text", text: "a" }, { kind: "control", text: "RLO" }, { kind: "text", text: "gpj.exe" }, { kind: "control", text: "PDF" },
  ]);
  assert.equal(withoutControls("\u2067evil\u2069\u202e"), "evil");
  assert.equal(links("https://example.com/\u202egpj")[0], "https://example.com/");
});

test("marks on one letter are limited, and scripts that need several keep them", () => {
  assert.equal(limitMarks(`a${"\u0301".repeat(100)}b`), `a${"\u0301".repeat(8)}b`);
  assert.equal(limitMarks("क्षि ที่ Việt"), "क्षि ที่ Việt");
});

test("only emoji are counted, whatever they are made of", () => {
  for (const [text, count] of [["👍", 1], ["👨‍👩‍👧‍👦", 1], ["🇨🇭🇯🇵", 2], ["👋🏽 🎉", 2], ["❤️", 1], ["1️⃣", 1], ["🏴󠁧󠁢󠁥󠁮󠁧󠁿", 1], ["🏳️‍🌈", 1], ["123", 0], ["©", 0], ["ok 👍", 0], ["", 0], ["😀😀😀😀😀😀😀", 0]] as const) {
    assert.equal(countOnlyEmoji(text), count, text);
  }
});

test("a family is one character to delete", () => {
  const text = "hi 👨‍👩‍👧‍👦";
  assert.equal(graphemeBefore(text, text.length), 3);
  assert.equal(graphemeBefore("ab🇨🇭", 6), 2);
  assert.equal(graphemeBefore("👍🏽", 4), 0);
});

test("long texts are cut between characters, and short ones are not", () => {
  assert.equal(collapse("hello\nthere"), undefined);
  assert.equal(collapse(Array.from({ length: 2000 }, (_, line) => `line ${line}`).join("\n"))?.lines, 2000);
  assert.ok((collapse("a".repeat(10_000))?.shown.length ?? 9e9) <= 1200);
  assert.equal(cutAt("👨‍👩‍👧‍👦👨‍👩‍👧‍👦", 12), "👨‍👩‍👧‍👦");
  const shown = collapse(`${"word ".repeat(239)}https://example.com/${"a".repeat(300)} ${"word ".repeat(600)}`)?.shown ?? "";
  assert.ok(!shown.includes("https://"), "half an address leads elsewhere");
});

test("mentions are highlighted by the longest name", () => {
  const names = [{ name: "Bob", user: "bob" }, { name: "Bob Miller", user: "miller" }, { name: "王芳", user: "fang" }];
  assert.deepEqual(inlines("@Bob Miller, @Bob and @Bobby, @王芳你好", names).filter(({ kind }) => kind === "mention").map(({ text }) => text), ["@Bob Miller", "@Bob", "@王芳"]);
});
