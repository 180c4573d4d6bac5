/** What a way is chosen from, and what a choice says. */
import type { CloneMode, PlanNote } from '../contract.ts';
import type { Refusal, SourceState } from '../driver.ts';
import type { AgentState } from './agents.ts';
import type { GuestInside, IdentityField, IdentityOptions, IdentityWay, LinkPolicy } from './contract.ts';

/** What a hypervisor and its host can do here; a refusal says why not. */
export interface HypervisorCan {
  /** Give the clone one more drive, for its first start. */
  drive: true | Refusal;
  /** Change files in the disks of the clone before it starts. */
  edit: true | Refusal;
  /** Run commands inside through a guest agent, and set the link of a network card. */
  agent: true | Refusal;
}

export interface WayQuestion {
  options: IdentityOptions;
  mode: CloneMode;
  source: SourceState;
  /** What looking into the source's disks found; unset: nobody looked. */
  inside?: GuestInside;
  /** The agent of the running source answers. */
  agentAnswers?: boolean;
  can: HypervisorCan;
  /** The clone is started by the same operation: only then can it be attested. */
  start: boolean;
  /** Network cards of the clone. */
  nics: number;
  /** The list of agents in force. */
  agents?: readonly AgentState[];
}

export interface WayChoice {
  way: IdentityWay;
  policy: LinkPolicy;
  /** `seed`: besides the drive, `seedEdits` are made in the disk, so that the machine id is new from the first instruction on. */
  editsToo: boolean;
  /** A guest agent will be there to attest. */
  agent: boolean;
  changed: IdentityField[];
  /** What stays as in the source, and why, as the end of a sentence. */
  kept: { field: IdentityField; why: string }[];
  /** Agents whose state is reset. */
  resets: AgentState[];
  notes: PlanNote[];
}

/** A way, before its effects are known. */
export type Chosen = Pick<WayChoice, 'way' | 'editsToo'> & { why?: string };
