#!/usr/bin/env node
import { runExim } from '../app/exim-command.ts';

process.exitCode = await runExim(process.argv.slice(2));
