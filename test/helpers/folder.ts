import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { DdpmError, type DdpmErrorCode } from '../../lib/errors';

/** An empty folder for each test of the file, removed after it. */
export function temporaryFolder(): () => string {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ddpm-checkpoint-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));
  return () => folder;
}

/** Every file below a folder with its contents; folders, where they are empty, as null. */
export function treeOf(folder: string): Record<string, string | null> {
  const tree: Record<string, string | null> = {};
  const visit = (path: string) => {
    const entries = readdirSync(path, { withFileTypes: true });
    if (entries.length === 0 && path !== folder) tree[relative(folder, path)] = null;
    for (const entry of entries) {
      const child = join(path, entry.name);
      if (entry.isDirectory()) visit(child);
      else tree[relative(folder, child)] = readFileSync(child, 'latin1');
    }
  };
  visit(folder);
  return tree;
}

/** The error that a promise rejects with, which must be of this package and have this code. */
export async function failure(promise: Promise<unknown>, code: DdpmErrorCode): Promise<string> {
  const error = await promise.then(
    () => new Error('it succeeded'),
    (reason: unknown) => reason,
  );
  if (!(error instanceof DdpmError)) throw error;
  expect(error.code).toBe(code);
  return error.message;
}
