import { z } from 'zod';

/** Ids in addresses of pages. */
export const idSchema = z.uuid();
