// Command original is the design of
// http://marcio.io/2015/07/handling-1-million-requests-per-minute-with-golang/
// made whole, for the bench to measure: a collection of payloads comes in by POST /payloads, each
// payload becomes a job in a bounded queue, a dispatcher hands the jobs to the job channels of idle
// workers, and each worker puts its payload into S3 as an object of its own.
//
// It is set by the environment: PORT, S3_BUCKET, MAX_WORKERS, MAX_QUEUE, KEPT_CONNECTIONS,
// AWS_ENDPOINT_URL_S3 and what the AWS SDK reads itself.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go/aws"
	"github.com/aws/aws-sdk-go/aws/session"
	"github.com/aws/aws-sdk-go/service/s3"
)

// MaxLength bounds a request's body, in bytes.
const MaxLength = 12 << 20

// Stats counts payloads: Accepted once their request is about to be answered, Stored once S3 has
// them, Lost if S3 would not take them.
type Stats struct {
	Accepted uint64 `json:"accepted"`
	Stored   uint64 `json:"stored"`
	Lost     uint64 `json:"lost"`
}

var stats Stats

// Payload is one JSON object of a client. The original's was a struct of its author's; this one
// takes any object, at about the cost of a struct (a map would cost a quarter more).
type Payload struct {
	json.RawMessage
}

// PayloadCollection is what one POST carries.
type PayloadCollection struct {
	WindowsVersion string    `json:"version"`
	Token          string    `json:"token"`
	Payloads       []Payload `json:"payloads"`
}

// Storage is where payloads go.
type Storage struct {
	client *s3.S3
	bucket string
	folder string
	number uint64
}

// NewStorage connects to S3; path style, so that any endpoint does. The SDK's own HTTP client keeps
// no more than two idle connections (net/http's DefaultMaxIdleConnsPerHost), so that most PUTs of
// many workers make one anew; with kept > 0 it keeps as many as that.
func NewStorage(bucket, endpoint string, kept int) *Storage {
	config := aws.NewConfig().WithS3ForcePathStyle(true)
	if kept > 0 {
		transport := &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			MaxIdleConns:        kept,
			MaxIdleConnsPerHost: kept,
			IdleConnTimeout:     90 * time.Second,
		}
		config = config.WithHTTPClient(&http.Client{Transport: transport})
	}
	if endpoint != "" {
		config = config.WithEndpoint(endpoint)
	}
	client := s3.New(session.Must(session.NewSession(config)))
	return &Storage{client: client, bucket: bucket, folder: fmt.Sprint(time.Now().UnixNano())}
}

// UploadToS3 encodes the payload and puts it under a key of its own. It blocks until S3 has it.
func (p *Payload) UploadToS3(storage *Storage) error {
	// The original's keys were times, which two payloads can share.
	path := fmt.Sprintf("%v/%v", storage.folder, atomic.AddUint64(&storage.number, 1))
	buffer := new(bytes.Buffer)
	if err := json.NewEncoder(buffer).Encode(p); err != nil {
		return err
	}
	_, err := storage.client.PutObject(&s3.PutObjectInput{
		Bucket:      aws.String(storage.bucket),
		Key:         aws.String(path),
		Body:        bytes.NewReader(buffer.Bytes()),
		ContentType: aws.String("application/octet-stream"),
	})
	return err
}

// Job is one payload on its way.
type Job struct {
	Payload Payload
}

// JobQueue is the bounded queue between the handler and the dispatcher.
var JobQueue chan Job

// Worker uploads one job after another, each from its own channel.
type Worker struct {
	WorkerPool chan chan Job
	JobChannel chan Job
	storage    *Storage
}

// Start runs the worker without end: it offers its channel when it is idle.
func (w Worker) Start() {
	go func() {
		for {
			w.WorkerPool <- w.JobChannel
			job := <-w.JobChannel
			if err := job.Payload.UploadToS3(w.storage); err != nil {
				log.Printf("Error uploading to S3: %s", err)
				atomic.AddUint64(&stats.Lost, 1)
				continue
			}
			atomic.AddUint64(&stats.Stored, 1)
		}
	}()
}

// Dispatcher hands jobs to idle workers.
type Dispatcher struct {
	WorkerPool chan chan Job
	maxWorkers int
	storage    *Storage
}

// NewDispatcher makes a dispatcher for so many workers.
func NewDispatcher(maxWorkers int, storage *Storage) *Dispatcher {
	return &Dispatcher{make(chan chan Job, maxWorkers), maxWorkers, storage}
}

// Run starts the workers and the dispatching.
func (d *Dispatcher) Run() {
	for i := 0; i < d.maxWorkers; i++ {
		Worker{d.WorkerPool, make(chan Job), d.storage}.Start()
	}
	go d.dispatch()
}

func (d *Dispatcher) dispatch() {
	for {
		// The original started a goroutine per job here, which made its queue unbounded again: it
		// then accepts until memory ends.
		jobChannel := <-d.WorkerPool
		jobChannel <- <-JobQueue
	}
}

func payloadHandler(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	var content PayloadCollection
	if err := json.NewDecoder(io.LimitReader(r.Body, MaxLength)).Decode(&content); err != nil {
		w.Header().Set("Content-Type", "application/json; charset=UTF-8")
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	for _, payload := range content.Payloads {
		JobQueue <- Job{Payload: payload}
	}
	atomic.AddUint64(&stats.Accepted, uint64(len(content.Payloads)))
	w.WriteHeader(http.StatusAccepted)
}

func statsHandler(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	seen := Stats{
		Accepted: atomic.LoadUint64(&stats.Accepted),
		Stored:   atomic.LoadUint64(&stats.Stored),
		Lost:     atomic.LoadUint64(&stats.Lost),
	}
	if err := json.NewEncoder(w).Encode(seen); err != nil {
		log.Print(err)
	}
}

func readyHandler(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusOK)
}

func number(name string, standard int) int {
	if text := os.Getenv(name); text != "" {
		value, err := strconv.Atoi(text)
		if err != nil {
			log.Fatalf("%s: %v", name, err)
		}
		return value
	}
	return standard
}

func main() {
	workers := number("MAX_WORKERS", 100)
	JobQueue = make(chan Job, number("MAX_QUEUE", 1000))
	kept := number("KEPT_CONNECTIONS", 0)
	storage := NewStorage(os.Getenv("S3_BUCKET"), os.Getenv("AWS_ENDPOINT_URL_S3"), kept)
	NewDispatcher(workers, storage).Run()
	http.HandleFunc("/payloads", payloadHandler)
	http.HandleFunc("/stats", statsHandler)
	http.HandleFunc("/readyz", readyHandler)
	log.Fatal(http.ListenAndServe(fmt.Sprintf("127.0.0.1:%d", number("PORT", 8080)), nil))
}
