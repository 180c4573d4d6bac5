/** JSON text that PostgreSQL takes. Internal to this package. */

/**
 * As JSON, without what `jsonb` refuses: NUL characters are left out and lone surrogates become U+FFFD (PostgreSQL 18,
 * 8.14.1 "JSON Input and Output Syntax"). What a guest says of itself is text of that guest's choosing.
 */
export function storable(value: object): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'string' ? inner.replaceAll('\0', '').replaceAll(loneSurrogate, '\uFFFD') : inner,
  );
}

const loneSurrogate = /[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g;
