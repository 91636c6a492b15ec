"""The earlier designs, one module each. They share HTTP and the service's S3 client."""
