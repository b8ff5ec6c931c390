import assert from 'node:assert/strict';
import { it } from 'node:test';
import { parseTemplate } from './expand.ts';
import { taintProblems } from './taint.ts';

function problems(source: string): string[] {
  const template = parseTemplate(source);
  assert.ok(template.kind === 'template', source);
  return taintProblems(template.ast).map((p) => `${p.offset}: ${p.message}`);
}

it('taint is found without mail, with its place and what to use instead', () => {
  assert.deepEqual(problems('a ${lookup{x}lsearch{/etc/$local_part}}'), [
    '2: file name for the lsearch lookup comes from $local_part, which is tainted; use $local_part_data instead',
  ]);
  assert.deepEqual(problems('${if and{{eq{a}{b}}{!exists{${readfile{/x/${lc:$domain}}}}}}{y}}'), [
    '28: file name for readfile comes from $domain, which is tainted; use $domain_data instead',
  ]);
  assert.equal(problems('${run{$h_x: a}}').length, 1);
  assert.equal(problems('${run,preexpand{/bin/echo $local_part}}').length, 1);
  assert.equal(problems('${map{a:b}{${readsocket{/s/$sender_address_domain}{x}}}}').length, 1);
  assert.equal(problems('${expand:${extract{1}{-}{$local_part}}}').length, 1);
});

it('what a lookup gave, or a digest, is clean', () => {
  for (const source of [
    '${lookup{$local_part}lsearch{/etc/${lookup{$domain}dsearch{/dirs}}/aliases}{$value}{no}}',
    '${lookup{x}lsearch{/etc/$domain_data}}',
    '${run{/bin/echo $local_part}}',
    '${readfile{/x/${md5:$local_part}}}',
    '${readfile{/x/${if eq{$local_part}{a}{b}{c}}}}',
    '${expand:${strlen:$local_part}}',
    '${if exists{/home/$local_part}{y}}',
  ])
    assert.deepEqual(problems(source), [], source);
});
