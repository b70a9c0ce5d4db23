"""Wire contracts that others define, generated from their ``.proto`` by ``make protos``.

Everything here needs the extra ``stoker[grpc]``; import it where it is used, not above.
"""
