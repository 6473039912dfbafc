// Lets node import as the exercises do: './name' without an extension, and CommonJS files beside modules.
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export async function resolve(name, context, next) {
  if (name === '@jest/globals') return { url: new URL('./globals.mjs', import.meta.url).href, shortCircuit: true };
  if (name.startsWith('.') && context.parentURL) {
    const place = new URL(name, context.parentURL);
    if (!existsSync(fileURLToPath(place)) && existsSync(`${fileURLToPath(place)}.js`)) {
      return next(`${name}.js`, context);
    }
  }
  return next(name, context);
}

export async function load(url, context, next) {
  if (url.startsWith('file:') && url.endsWith('.js')) {
    const text = readFileSync(fileURLToPath(url), 'utf8');
    const isModule = /^\s*(import|export)\b/m.test(text) || !/\b(module\.exports|exports\.|require\()/.test(text);
    if (isModule) return { format: 'module', source: text, shortCircuit: true };
    return next(url, { ...context, format: 'commonjs' });
  }
  return next(url, context);
}
