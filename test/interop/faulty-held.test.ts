// Mail handed over in the transactions in which its recipients were asked about, to stores that break the rules of LMTP in every
// way after that: the sender's 250 is true, and nobody gets it twice or not at all.
import { testFaultyDeliveries } from '../support/faulty-deliveries.ts';

testFaultyDeliveries('held');
