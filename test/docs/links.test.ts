/** What the documentation points at is there. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { codeBlocks, pages, proseOf, root, textOf } from './markdown';

test.each(pages)('links of %s', (page) => {
  const links = [...proseOf(page).matchAll(/\]\(([^)]+)\)/g)].map(([, target]) => target);
  const broken = links.filter((link) => !/^https:\/\//.test(link) && !leadsSomewhere(page, link));
  expect(broken).toEqual([]);
});

function leadsSomewhere(page: string, link: string): boolean {
  const [path, anchor] = link.split('#');
  const file = path === '' ? page : join(dirname(page), path);
  if (!existsSync(join(root, file))) return false;
  return anchor === undefined || headingsOf(file).includes(anchor);
}

/** The anchors that a page's headings get. */
function headingsOf(page: string): string[] {
  const headings = [...textOf(page).matchAll(/^#+ (.+)$/gm)].map(([, title]) => title);
  return headings.map((title) =>
    title
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s-]/gu, '')
      .replace(/\s/g, '-'),
  );
}

const trees = pages.flatMap((page) =>
  codeBlocks(page)
    .filter(({ code }) => /^lib\/ /.test(code))
    .map(({ code }) => ({ page, paths: pathsOf(code) })),
);

test('two pages show the folders', () => {
  expect(trees.map(({ page }) => page)).toEqual(['README.md', 'docs/architecture.md']);
});

test.each(trees)('the folders that $page shows', ({ paths }) => {
  expect(paths.filter((path) => !existsSync(join(root, path)))).toEqual([]);
});

/** The paths of a drawn tree: a name at the start of a line, below the last one that is less indented. */
function pathsOf(tree: string): string[] {
  const parents: string[] = [];
  return [...tree.matchAll(/^((?: {2})?)([\w.-]+\/?) {2,}/gm)].map(([, indent, name]) => {
    const depth = indent.length / 2;
    parents.splice(depth, parents.length, name);
    return parents.join('');
  });
}
