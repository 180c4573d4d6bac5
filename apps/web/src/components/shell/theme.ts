import { Alert, createTheme, Modal, type CSSVariablesResolver, type MantineColorsTuple } from '@mantine/core';

/** The one accent: for the main action of a page, links and focus. No state has this colour. */
const accent: MantineColorsTuple = [
  '#f1effd',
  '#dfdcf7',
  '#bcb5ef',
  '#978ce8',
  '#786be2',
  '#6455de',
  '#5848d6',
  '#4a3bc0',
  '#4033ab',
  '#352a96',
];

export const theme = createTheme({
  fontFamily: '"Inter Variable", system-ui, sans-serif',
  fontFamilyMonospace: 'ui-monospace, "SF Mono", Menlo, Consolas, monospace',
  primaryColor: 'accent',
  primaryShade: { light: 7, dark: 6 },
  defaultRadius: 'sm',
  cursorType: 'pointer',
  colors: { accent },
  respectReducedMotion: true,
  components: {
    // Its icon has the colour of the state; its frame is a panel's, in both schemes.
    Alert: Alert.extend({
      styles: {
        root: { borderColor: 'var(--line)' },
        title: { color: 'var(--mantine-color-text)', fontWeight: 600 },
        message: { color: 'var(--mantine-color-text)' },
      },
    }),
    Modal: Modal.extend({
      defaultProps: {
        closeButtonProps: { 'aria-label': 'Close' },
        // A dialog's <header> would count as a second banner of the page.
        attributes: { header: { role: 'presentation' } },
      },
      styles: { title: { fontWeight: 620 } },
    }),
  },
  headings: {
    fontWeight: '620',
    sizes: { h1: { fontSize: '1.375rem' }, h2: { fontSize: '1rem' }, h3: { fontSize: '0.9375rem' } },
  },
});

/** Contrast of at least 4.5:1 for quiet text, and the colours of states, in both schemes. */
export const cssVariables: CSSVariablesResolver = () => ({
  variables: {},
  light: {
    '--mantine-color-dimmed': '#545b64',
    '--mantine-color-placeholder': '#666d76',
    '--mantine-color-error': '#c01f2f',
    '--mantine-color-disabled': '#eef0f2',
    '--mantine-color-disabled-color': '#747b84',
    '--mantine-color-anchor': '#4033ab',
    '--mantine-color-body': '#ffffff',
    '--state-stopped': '#6b727b',
    '--state-good': '#1a7f37',
    '--state-working': '#0b62c4',
    '--state-attention': '#9a5b00',
    '--state-failed': '#c01f2f',
    '--surface': '#f6f7f9',
    '--line': '#dfe2e6',
  },
  dark: {
    '--mantine-color-dimmed': '#a5abb3',
    '--mantine-color-placeholder': '#949aa3',
    '--mantine-color-error': '#ff7b7f',
    '--mantine-color-disabled': '#23262c',
    '--mantine-color-disabled-color': '#8a919a',
    '--mantine-color-anchor': '#b4abf5',
    '--mantine-color-body': '#16181c',
    '--mantine-color-text': '#dfe2e6',
    '--state-stopped': '#99a0a9',
    '--state-good': '#4cc46a',
    '--state-working': '#6aacff',
    '--state-attention': '#e9a93c',
    '--state-failed': '#ff7b7f',
    '--surface': '#1d2025',
    '--line': '#31353c',
  },
});
