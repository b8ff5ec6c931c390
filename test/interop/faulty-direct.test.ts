// Mail handed over while its sender waits, to stores that break the rules of LMTP in every way: the sender's 250 is true, and
// nobody gets it twice or not at all.
import { testFaultyDeliveries } from '../support/faulty-deliveries.ts';

testFaultyDeliveries('direct');
