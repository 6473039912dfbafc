// Runs one jest test file without jest: describe/test/expect as the exercises use them.
// The secret comes on standard input, so that the answer's code does not find it in the arguments.
import { readFileSync, writeFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { pathToFileURL } from 'node:url';

const secret = readFileSync(0, 'utf8').trim();
const [, , file, report] = process.argv;
const write = writeFileSync.bind(null, report);
const stringify = JSON.stringify;
const root = { tests: [], before: [], after: [], beforeAll: [], afterAll: [], parent: null };
let group = root;

const same = (left, right) => deepEqual(left, right);
// toEqual: undefined members and the class of an object do not count
function deepEqual(left, right) {
  if (Object.is(left, right) || (left === 0 && right === 0 && Object.is(left, right))) return true;
  if (typeof left !== 'object' || typeof right !== 'object' || !left || !right) return false;
  if (Array.isArray(left) !== Array.isArray(right)) return false;
  for (const kind of [Map, Set, Date, RegExp, Error]) {
    if (left instanceof kind !== right instanceof kind) return false;
  }
  if (left instanceof Error) return left.message === right.message;
  if (left instanceof Map || left instanceof Set || left instanceof Date || left instanceof RegExp) {
    return isDeepStrictEqual(left, right);
  }
  if (ArrayBuffer.isView(left)) return isDeepStrictEqual(left, right);
  if (Array.isArray(left) && left.length !== right.length) return false;
  const names = new Set([...Object.keys(left), ...Object.keys(right)]);
  for (const name of names) if (!deepEqual(left[name], right[name])) return false;
  return true;
}
const show = (value) => {
  try { return stringify(value) ?? String(value); } catch { return String(value); }
};

function thrownMatches(error, wanted) {
  if (wanted === undefined) return true;
  const message = error?.message ?? String(error);
  if (typeof wanted === 'string') return message.includes(wanted);
  if (wanted instanceof RegExp) return wanted.test(message);
  if (typeof wanted === 'function') return error instanceof wanted;
  return message === wanted.message;
}

const matchers = {
  toBe: (value, wanted) => Object.is(value, wanted),
  toEqual: same,
  toStrictEqual: (value, wanted) => isDeepStrictEqual(value, wanted),
  toBeCloseTo: (value, wanted, digits = 2) =>
    value === wanted || Math.abs(value - wanted) < Math.pow(10, -digits) / 2,
  toBeUndefined: (value) => value === undefined,
  toBeDefined: (value) => value !== undefined,
  toBeNull: (value) => value === null,
  toBeNaN: (value) => Number.isNaN(value),
  toBeTruthy: (value) => Boolean(value),
  toBeFalsy: (value) => !value,
  toBeInstanceOf: (value, kind) => value instanceof kind,
  toMatch: (value, wanted) =>
    wanted instanceof RegExp ? wanted.test(value) : String(value).includes(wanted),
  toContain: (value, wanted) =>
    typeof value === 'string' ? value.includes(wanted) : [...value].includes(wanted),
  toContainEqual: (value, wanted) => [...value].some((part) => same(part, wanted)),
  toHaveLength: (value, wanted) => value.length === wanted,
  toHaveProperty: (value, name, ...wanted) =>
    name in Object(value) && (wanted.length === 0 || same(value[name], wanted[0])),
  toMatchObject: (value, wanted) => Object.keys(wanted).every((name) => same(value?.[name], wanted[name])),
  toBeGreaterThan: (value, wanted) => value > wanted,
  toBeGreaterThanOrEqual: (value, wanted) => value >= wanted,
  toBeLessThan: (value, wanted) => value < wanted,
  toBeLessThanOrEqual: (value, wanted) => value <= wanted,
  toHaveBeenCalled: (spy) => spy.mock.calls.length > 0,
  toHaveBeenCalledTimes: (spy, times) => spy.mock.calls.length === times,
  toHaveBeenCalledWith: (spy, ...wanted) => spy.mock.calls.some((call) => same(call, wanted)),
  toThrow: (action, wanted) => {
    if (typeof action !== 'function') return thrownMatches(action, wanted); // of a rejection
    try { action(); } catch (error) { return thrownMatches(error, wanted); }
    return false;
  },
};
matchers.toThrowError = matchers.toThrow;

function expectation(value, negated) {
  const made = {};
  for (const [name, matches] of Object.entries(matchers)) {
    made[name] = (...wanted) => {
      if (matches(value, ...wanted) === negated) {
        throw new Error(`${negated ? 'not ' : ''}${name}: ${show(value)}, expected ${wanted.map(show)}`);
      }
    };
  }
  return made;
}
function settled(promise, wantsRejection, negated) {
  const made = {};
  for (const name of Object.keys(matchers)) {
    made[name] = async (...wanted) => {
      let value;
      let rejected = false;
      try { value = await promise; } catch (error) { rejected = true; value = error; }
      if (rejected !== wantsRejection) {
        throw new Error(`the promise was ${rejected ? 'rejected' : 'resolved'}: ${show(value)}`);
      }
      expectation(value, negated)[name](...wanted);
    };
  }
  return made;
}
function expect(value) {
  const made = expectation(value, false);
  made.not = expectation(value, true);
  made.resolves = settled(value, false, false);
  made.resolves.not = settled(value, false, true);
  made.rejects = settled(value, true, false);
  made.rejects.not = settled(value, true, true);
  return made;
}

const withEach = (define) => {
  define.each = (table) => (name, body) =>
    table.forEach((row, index) => {
      const values = Array.isArray(row) ? row : [row];
      define(`${name} ${index}`, () => body(...values));
    });
  return define;
};
const test = withEach((name, body) => group.tests.push({ name, body }));
const skipped = withEach(() => {});
test.only = test;
test.skip = skipped;
test.todo = () => {};
const describe = withEach((name, body) => {
  const inner = { name, tests: [], before: [], after: [], beforeAll: [], afterAll: [], parent: group };
  group.tests.push(inner);
  group = inner;
  try { body(); } finally { group = inner.parent; }
});
describe.only = describe;
describe.skip = skipped;
const fn = (body = () => undefined) => {
  const spy = (...values) => {
    spy.mock.calls.push(values);
    return body(...values);
  };
  spy.mock = { calls: [] };
  spy.mockReturnValue = (value) => { body = () => value; return spy; };
  spy.mockImplementation = (other) => { body = other; return spy; };
  return spy;
};
Object.assign(globalThis, {
  describe, test, it: test, xdescribe: describe, xtest: test, xit: test, expect, jest: { fn },
  beforeEach: (body) => group.before.push(body),
  afterEach: (body) => group.after.push(body),
  beforeAll: (body) => group.beforeAll.push(body),
  afterAll: (body) => group.afterAll.push(body),
});

function call(body) {
  if (body.length === 0) return body();
  return new Promise((resolve, reject) => body((error) => (error ? reject(error) : resolve())));
}
const results = { passed: 0, failed: [] };
async function run(at, before, after) {
  for (const body of at.beforeAll) await call(body);
  for (const entry of at.tests) {
    if (entry.tests) {
      await run(entry, [...before, ...entry.before], [...entry.after, ...after]);
      continue;
    }
    try {
      for (const body of before) await call(body);
      await call(entry.body);
      for (const body of after) await call(body);
      results.passed += 1;
    } catch (error) {
      results.failed.push(`${entry.name}: ${error?.stack ?? error}`.slice(0, 500));
    }
  }
  for (const body of at.afterAll) await call(body);
}
process.argv.length = 2;
await import(pathToFileURL(file).href);
await run(root, root.before, root.after);
write(stringify({ secret, passed: results.passed, failed: results.failed }));
process.exit(0);
