module bucket-brigade/benchmarks/original

go 1.19

require github.com/aws/aws-sdk-go v1.44.133

require github.com/jmespath/go-jmespath v0.4.0 // indirect
