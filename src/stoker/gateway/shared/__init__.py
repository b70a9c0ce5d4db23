"""What the processes of one gateway have in hand together, so that limits are the gateway's.

A `Table` in shared memory has a row for each process. A process writes its own row only and reads
the sum of the others when it decides. `SharedDispatcher` puts these numbers where the policy looks
for them; `Neighbours` wakes a process for which another one has left room.
"""
