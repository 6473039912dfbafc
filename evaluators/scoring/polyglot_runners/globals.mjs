// What `import ... from '@jest/globals'` gives.
const { describe, test, it, expect, jest, beforeEach, afterEach, beforeAll, afterAll } = globalThis;
export { describe, test, it, expect, jest, beforeEach, afterEach, beforeAll, afterAll };
