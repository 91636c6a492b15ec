"""An SQS on loopback: moto's server, and a front before it that refuses and loses answers."""
