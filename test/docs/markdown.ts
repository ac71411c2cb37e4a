/** What the documentation holds: its pages, their code blocks, tables and links. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** The repository. */
export const root = resolve(__dirname, '../..');

/** Paths of the pages, within the repository. */
export const pages = [
  'README.md',
  ...readdirSync(join(root, 'docs'))
    .filter(isPage)
    .map((name) => `docs/${name}`),
];

function isPage(name: string): boolean {
  return name.endsWith('.md');
}

export function textOf(page: string): string {
  return readFileSync(join(root, page), 'utf8');
}

export interface CodeBlock {
  /** `js`, `ts`, `sh`, …; empty where the page names none. */
  language: string;
  code: string;
}

/** The fenced blocks of a page, in its order. */
export function codeBlocks(page: string): CodeBlock[] {
  const blocks = textOf(page).matchAll(/^```(\w*)\n(.*?)^```$/gms);
  return [...blocks].map(([, language, code]) => ({ language, code }));
}

/** A page without its code. */
export function proseOf(page: string): string {
  return textOf(page)
    .replace(/^```.*?^```$/gms, '')
    .replace(/`[^`\n]*`/g, '');
}

export interface Table {
  page: string;
  /** Of each row but the heading, its cells. */
  rows: string[][];
}

/** The tables that follow a comment `<!-- name -->`, by what the comment says. */
export function markedTables(): Map<string, Table> {
  const tables = new Map<string, Table>();
  for (const page of pages) {
    for (const [, name, body] of textOf(page).matchAll(/^<!-- (.+) -->\n\n((?:\|.*\n)+)/gm)) {
      const [, , ...lines] = body.trimEnd().split('\n');
      tables.set(name, { page, rows: lines.map(cellsOf) });
    }
  }
  return tables;
}

function cellsOf(line: string): string[] {
  return line
    .split(/(?<!\\)\|/)
    .slice(1, -1)
    .map((cell) => cell.trim());
}

/** The code that a cell consists of; undefined where it is anything else. */
export function codeIn(cell: string): string | undefined {
  return /^`([^`]+)`$/.exec(cell)?.[1];
}
