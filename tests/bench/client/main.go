// A load generator: TLS connections with one goroutine each, keep-alive, prepared bytes.
//
// It prints one JSON object with the fields of Load in tests/bench/load.py; times are in seconds.
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"sort"
	"strconv"
	"sync"
	"time"
)

const (
	warmUp     = 300 * time.Millisecond // not counted
	timeout    = 30 * time.Second       // for the connections, and for the last answers
	bufferSize = 64 * 1024
	head       = "POST /validate?timeout=10s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" +
		"Content-Length: %d\r\n\r\n"
)

var (
	statusOK      = []byte("HTTP/1.1 200 ")
	contentLength = []byte("content-length")
	allowed       = []byte(`"allowed":true`)
)

type connection struct {
	conn   *tls.Conn
	reader *bufio.Reader

	completed int       // requests answered within the measured time
	all       int       // requests answered, with the first one and those of the warm-up
	latencies []float64 // of requests sent within the measured time
}

type result struct {
	Requests    int     `json:"requests"`
	Seconds     float64 `json:"seconds"`
	Median      float64 `json:"median"`
	P99         float64 `json:"p99"`
	AllRequests int     `json:"all_requests"`
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("client: ")
	count := flag.Int("connections", 16, "TLS connections")
	seconds := flag.Float64("seconds", 1, "measured time")
	flag.Parse()
	if flag.NArg() != 3 || *count < 1 || *seconds <= 0 {
		log.Fatal("usage: client [--connections N] [--seconds S] PORT CA BODY")
	}
	measured, err := run(flag.Arg(0), flag.Arg(1), flag.Arg(2), *count, *seconds)
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(measured); err != nil {
		log.Fatal(err)
	}
}

func run(port, caFile, bodyFile string, count int, seconds float64) (*result, error) {
	body, err := os.ReadFile(bodyFile)
	if err != nil {
		return nil, err
	}
	request := append([]byte(fmt.Sprintf(head, len(body))), body...)
	connections, err := connect(net.JoinHostPort("127.0.0.1", port), caFile, count, request)
	if err != nil {
		return nil, err
	}
	begins := time.Now().Add(warmUp)
	ends := begins.Add(time.Duration(seconds * float64(time.Second)))
	failures := make(chan error, count)
	var group sync.WaitGroup
	for index, each := range connections {
		group.Add(1)
		go func(index int, each *connection) {
			defer group.Done()
			if err := each.send(request, begins, ends); err != nil {
				failures <- fmt.Errorf("connection %d, request %d: %w", index+1, each.all+1, err)
			}
		}(index, each)
	}
	group.Wait()
	close(failures)
	if err := <-failures; err != nil {
		return nil, err
	}
	return summarize(connections, seconds)
}

// connect opens all connections before the measured time, and sends one request over each. A server with a
// thread for each new connection could not accept all of them otherwise.
func connect(address, caFile string, count int, request []byte) ([]*connection, error) {
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no certificate in PEM", caFile)
	}
	dialer := &net.Dialer{Timeout: timeout}
	connections := make([]*connection, count)
	for index := range connections {
		conn, err := tls.DialWithDialer(dialer, "tcp", address, &tls.Config{RootCAs: roots})
		if err != nil {
			return nil, fmt.Errorf("connection %d of %d to %s: %w", index+1, count, address, err)
		}
		each := &connection{conn: conn, reader: bufio.NewReaderSize(conn, bufferSize)}
		if err = conn.SetDeadline(time.Now().Add(timeout)); err == nil {
			err = each.exchange(request)
		}
		if err != nil {
			return nil, fmt.Errorf("connection %d of %d, first request: %w", index+1, count, err)
		}
		connections[index] = each
	}
	return connections, nil
}

// send repeats the request until the measured time ends; the last answer may arrive after it.
func (c *connection) send(request []byte, begins, ends time.Time) error {
	defer c.conn.Close()
	if err := c.conn.SetDeadline(ends.Add(timeout)); err != nil {
		return err
	}
	for started := time.Now(); started.Before(ends); {
		if err := c.exchange(request); err != nil {
			return err
		}
		now := time.Now()
		if now.After(begins) && !now.After(ends) {
			c.completed++
		}
		if started.After(begins) {
			c.latencies = append(c.latencies, now.Sub(started).Seconds())
		}
		started = now
	}
	return nil
}

// exchange sends one request and reads its answer.
func (c *connection) exchange(request []byte) error {
	if _, err := c.conn.Write(request); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if err := c.receive(); err != nil {
		return err
	}
	c.all++
	return nil
}

// receive reads one answer. The body of the first one of a connection must admit.
func (c *connection) receive() error {
	line, err := c.reader.ReadSlice('\n')
	if err != nil {
		return fmt.Errorf("read the status: %w", err)
	}
	if !bytes.HasPrefix(line, statusOK) {
		return fmt.Errorf("the status is not 200: %q", line)
	}
	length := -1
	for {
		if line, err = c.reader.ReadSlice('\n'); err != nil {
			return fmt.Errorf("read the header: %w", err)
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			break
		}
		if name, value, _ := bytes.Cut(line, []byte(":")); bytes.EqualFold(name, contentLength) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return fmt.Errorf("Content-Length: %w", err)
			}
		}
	}
	if length < 0 {
		return errors.New("the answer has no Content-Length")
	}
	if c.all > 0 {
		_, err = c.reader.Discard(length)
	} else {
		body := make([]byte, length)
		if _, err = io.ReadFull(c.reader, body); err == nil && !bytes.Contains(body, allowed) {
			return fmt.Errorf("the answer does not admit: %.300q", body)
		}
	}
	if err != nil {
		return fmt.Errorf("read the body: %w", err)
	}
	return nil
}

func summarize(connections []*connection, seconds float64) (*result, error) {
	sum := &result{Seconds: seconds}
	var latencies []float64
	for _, each := range connections {
		sum.Requests += each.completed
		sum.AllRequests += each.all
		latencies = append(latencies, each.latencies...)
	}
	if sum.Requests == 0 || len(latencies) == 0 {
		return nil, errors.New("no request was answered within the measured time")
	}
	sort.Float64s(latencies)
	sum.Median = latencies[len(latencies)/2]
	sum.P99 = latencies[min(len(latencies)-1, len(latencies)*99/100)]
	return sum, nil
}
