"""What servers of several protocols share: ports that can be taken, and TLS."""
