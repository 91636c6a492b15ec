"""The earlier designs, one module each. They share a front, and the service's own S3 client."""
