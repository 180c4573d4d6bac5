'use client';

import { TextInput, type TextInputProps } from '@mantine/core';
import { useDebouncedCallback } from '@mantine/hooks';
import { IconSearch } from '@tabler/icons-react';
import { useEffect, useRef, useState } from 'react';

/** How long typing rests before it is searched for, milliseconds. */
const REST_MS = 200;

/** A page's own search, which `/` goes to. `onChange` is called when typing rests. */
export function SearchField({
  label,
  placeholder,
  value,
  onChange,
  w,
}: {
  label: string;
  placeholder: string;
  value: string;
  onChange: (text: string) => void;
  w?: TextInputProps['w'];
}) {
  const [typed, setTyped] = useState(value);
  const told = useRef(value);
  const tell = useDebouncedCallback((text: string) => {
    told.current = text;
    onChange(text);
  }, REST_MS);
  // Somebody else changed it: “Show all”, or the way back.
  useEffect(() => {
    if (value === told.current) return;
    told.current = value;
    setTyped(value);
  }, [value]);
  return (
    <TextInput
      data-page-search
      value={typed}
      onChange={(event) => {
        setTyped(event.currentTarget.value);
        tell(event.currentTarget.value);
      }}
      // At once: told later, it would call back whoever follows a link of the list meanwhile.
      onBlur={() => tell.flush()}
      placeholder={placeholder}
      aria-label={label}
      leftSection={<IconSearch size={15} aria-hidden />}
      {...(w === undefined ? {} : { w })}
    />
  );
}
