/**
 * Listening sockets on their way from one configuration to the next (SIGHUP): they stay open, and whoever connects meanwhile waits
 * for the new one instead of being turned away.
 */
import type { Server, Socket } from 'node:net';

/** A listening socket that nobody serves at the moment. */
export interface ParkedSocket {
  readonly server: Server;
  /** Connections that have come meanwhile. */
  readonly waiting: readonly Socket[];
}

/** One more is closed: the kernel's queue is not for us to keep longer. */
const maxWaiting = 1024;

let kept: Map<string, ParkedSocket> | undefined;

/**
 * From now on sockets that are given up are kept for who listens at the same place next. The returned function ends that and
 * closes those that nobody took.
 */
export function keepSockets(): () => void {
  const here = new Map<string, ParkedSocket>();
  kept = here;
  return () => {
    if (kept === here) kept = undefined;
    for (const parked of here.values()) discardParked(parked);
    here.clear();
  };
}

/** Gives a listening socket up; false where nobody keeps it. @param place what it is bound to, and how */
export function park(place: string, server: Server): boolean {
  if (kept === undefined) return false;
  const waiting: Socket[] = [];
  server.removeAllListeners('connection');
  server.removeAllListeners('error');
  server.on('error', () => undefined);
  server.on('connection', (socket) => {
    socket.on('error', () => socket.destroy());
    if (waiting.length < maxWaiting) waiting.push(socket);
    else socket.destroy();
  });
  kept.set(place, { server, waiting });
  return true;
}

/** The socket that was given up at a place, without those who were to serve it. */
export function takeParked(place: string): ParkedSocket | undefined {
  const parked = kept?.get(place);
  kept?.delete(place);
  parked?.server.removeAllListeners('connection');
  parked?.server.removeAllListeners('error');
  return parked;
}

export function discardParked({ server, waiting }: ParkedSocket): void {
  server.close();
  for (const socket of waiting) socket.destroy();
}
