/** Child process of the subscribers bench: many tRPC clients over EventSource, checking every id they get. */
import { createTRPCUntypedClient, httpSubscriptionLink } from '@trpc/client';
import { EventSource } from 'eventsource';

interface Order {
  url: string;
  cookie: string;
  batchId: string;
  from: string;
  count: number;
}
type Message = { order: Order } | { expected: string[] };

const received: string[][] = [];
let opened = 0;

function subscribe({ url, cookie, batchId, from }: Order, ids: string[]): void {
  class WithCookie extends EventSource {
    constructor(address: string | URL) {
      super(address, {
        fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, cookie } }),
      });
    }
  }
  const client = createTRPCUntypedClient({
    links: [httpSubscriptionLink({ url: `${url}/api/trpc`, EventSource: WithCookie })],
  });
  let first = true;
  client.subscription(
    'operation.onEvent',
    { batchId, logs: false, lastEventId: from },
    {
      onData: (message: unknown) => ids.push((message as { id: string }).id),
      onStarted: () => {
        if (first) opened++;
        first = false;
      },
      onError: (error) => process.send?.({ error: String(error) }),
    },
  );
}

function missingOf(expected: readonly string[]): { complete: number; lost: number; repeated: number } {
  let [complete, lost, repeated] = [0, 0, 0];
  for (const ids of received) {
    const distinct = new Set(ids);
    const gone = expected.filter((id) => !distinct.has(id)).length;
    const twice = ids.length - distinct.size;
    lost += gone;
    repeated += twice;
    if (gone === 0 && twice === 0) complete++;
  }
  return { complete, lost, repeated };
}

process.on('message', (message: Message) => {
  if ('order' in message) {
    for (let index = 0; index < message.order.count; index++) {
      const ids: string[] = [];
      received.push(ids);
      subscribe(message.order, ids);
    }
  } else {
    process.send?.({ verdict: missingOf(message.expected) });
  }
});
setInterval(() => process.send?.({ opened }), 100);
