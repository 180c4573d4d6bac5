'use client';

import { NumberInput, Radio, Stack } from '@mantine/core';
import { linkPolicies } from '@offshoot/clone-core/contract/identity';
import { policyWords } from '../../../lib/identity.ts';
import type { IdentityForm, IdentityProblems } from './form.ts';

/** What the network waits for. */
export function PolicyField({
  form,
  problems,
  memory,
  onChange,
}: {
  form: IdentityForm;
  problems: IdentityProblems;
  /** A clone with memory: only strict is safe. */
  memory: boolean;
  onChange: (part: Partial<IdentityForm>) => void;
}) {
  return (
    <Stack gap="xs">
      <Radio.Group
        label="Proof before the network"
        value={form.policy ?? 'auto'}
        onChange={(value) => onChange({ policy: linkPolicies.find((policy) => policy === value) ?? null })}
        error={problems['policy']}
      >
        <Stack gap={8} mt={6}>
          <Radio
            value="auto"
            label="As its source allows"
            description="Strict where a guest agent is in the source, off where not. The plan says which."
          />
          {linkPolicies.map((policy) => (
            <Radio
              key={policy}
              value={policy}
              disabled={memory && policy !== 'strict'}
              label={policyWords[policy].name}
              description={policyWords[policy].means}
            />
          ))}
        </Stack>
      </Radio.Group>
      {form.policy === 'off' ? null : (
        <NumberInput
          label="Wait at most (seconds)"
          value={form.deadlineSeconds}
          onChange={(value) => onChange({ deadlineSeconds: value === '' ? '' : Number(value) })}
          error={problems['deadlineSeconds']}
          min={10}
          max={3600}
          step={30}
          allowDecimal={false}
          clampBehavior="none"
          maw={200}
        />
      )}
    </Stack>
  );
}
