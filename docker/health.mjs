// Exit code 0 while the portal answers. A host in trouble does not make the web unhealthy: restarting it would not help.
const answer = await fetch('http://127.0.0.1:3000/api/health', { signal: AbortSignal.timeout(4000) });
const { database, redis } = await answer.json();
process.exitCode = database === 'ok' && redis === 'ok' ? 0 : 1;
