// Writes cdb files (https://cr.yp.to/cdb/cdb.txt), for tests: the real Exim reads them too.

/** Records may have the same key. Texts are octets. */
export function cdbFile(records: readonly (readonly [key: string, value: string])[]): Buffer {
  const body: Buffer[] = [];
  const tables = Array.from({ length: 256 }, (): { hash: number; position: number }[] => []);
  let position = 2048;
  for (const [key, value] of records) {
    const [k, v] = [Buffer.from(key, 'latin1'), Buffer.from(value, 'latin1')];
    const hash = k.reduce((h, octet) => ((h * 33) ^ octet) >>> 0, 5381);
    tables[hash & 255]?.push({ hash, position });
    body.push(numbers(k.length, v.length), k, v);
    position += 8 + k.length + v.length;
  }
  const header: Buffer[] = [];
  for (const table of tables) {
    const slots = table.length * 2;
    header.push(numbers(position, slots));
    const filled = Array.from({ length: slots }, () => ({ hash: 0, position: 0 }));
    for (const entry of table) {
      let at = (entry.hash >>> 8) % slots;
      while (filled[at]?.position !== 0) at = (at + 1) % slots;
      filled[at] = entry;
    }
    body.push(...filled.map((e) => numbers(e.hash, e.position)));
    position += slots * 8;
  }
  return Buffer.concat([...header, ...body]);
}

function numbers(...values: readonly number[]): Buffer {
  const octets = Buffer.alloc(values.length * 4);
  values.forEach((value, i) => octets.writeUInt32LE(value, i * 4));
  return octets;
}
