#!/usr/bin/env node
import { runMailchute } from '../app/mailchute-command.ts';

process.exitCode = await runMailchute(process.argv.slice(2));
