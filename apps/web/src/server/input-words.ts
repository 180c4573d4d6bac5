/** What is wrong with an input, in words: for the issues that a schema has no sentence of its own for. */
import type { z } from 'zod';

type Issue = z.core.$ZodIssue;

/** How zod's own sentences begin; ours are written beside the schema and stay as they are. */
const machineWords = /^(?:Invalid |Too (?:big|small): |Unrecognized key)/;

const kinds: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object with named fields',
};
const units: Readonly<Record<string, string>> = { string: ' characters', array: ' entries' };

/** "options.vcpus must be at least 1." A sentence that names the field and says what it must be. */
export function sentenceOf(issue: Issue): string {
  if (!machineWords.test(issue.message)) return issue.message;
  const field = issue.path.map(String).join('.');
  const name = field === '' ? 'The request' : field;
  switch (issue.code) {
    case 'invalid_type':
      return `${name} must be ${kinds[issue.expected] ?? `of the kind ${issue.expected}`}.`;
    case 'too_small':
      return `${name} must be at least ${issue.minimum}${units[issue.origin] ?? ''}.`;
    case 'too_big':
      return `${name} must be at most ${issue.maximum}${units[issue.origin] ?? ''}.`;
    case 'invalid_value':
      return `${name} must be ${issue.values.map(String).join(' or ')}.`;
    case 'invalid_format':
      if (issue.format === 'uuid') return `${name} must be an id, as the portal shows it.`;
      return 'prefix' in issue && typeof issue.prefix === 'string'
        ? `${name} must start with ${issue.prefix}`
        : `${name} is not written as it must be (${issue.format}).`;
    case 'unrecognized_keys':
      return `${name} has ${issue.keys.length === 1 ? 'a field' : 'fields'} that nobody knows: ${issue.keys.join(', ')}.`;
    case 'invalid_union':
      return `${name} is none of the kinds that are known.`;
    default:
      return `${name} is not as it must be.`;
  }
}

/** What to do about it; undefined when the issue's own sentence says it. */
export function remedyOf(issue: Issue): string | undefined {
  if (!machineWords.test(issue.message)) return undefined;
  return issue.code === 'unrecognized_keys'
    ? 'Leave it out and send the request again.'
    : 'Correct it and send the request again.';
}
