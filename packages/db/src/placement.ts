/** Which host gets what: the question as a preview asks it. */
export { previewQuestion, type Placeable } from './placement/question.ts';
export { moveFromSilent } from './placement/move.ts';
export { noPlace, refuseNamesElsewhere } from './placement/placed.ts';
