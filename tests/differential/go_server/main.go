// How Go's net/http divides bytes into requests.
//
// Each line of the input is what one connection sends, in base64. Each line of the output is what the server
// read of it. The connections are in memory: no network divides the bytes or loses the end of a response.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"sync"
	"time"
)

type request struct {
	Method string `json:"method"`
	Target string `json:"target"`
	Host   string `json:"host"`
	Body   []byte `json:"body"`
	Closes bool   `json:"closes"`
}

type reading struct {
	Requests []request `json:"requests"`
	// The status with which the server refused the rest, 0 if it did not.
	Refused int `json:"refused"`
	// Whether the last body was malformed, or ended early.
	Broken bool `json:"broken"`
}

// A connection whose client sends input and then ends its side.
type connection struct {
	input  *bytes.Reader
	result reading
	mutex  sync.Mutex
	output bytes.Buffer
	once   sync.Once
	closed chan struct{}
}

func (c *connection) Read(p []byte) (int, error) { return c.input.Read(p) }

func (c *connection) Write(p []byte) (int, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.output.Write(p)
}

func (c *connection) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func (c *connection) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *connection) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *connection) SetDeadline(time.Time) error      { return nil }
func (c *connection) SetReadDeadline(time.Time) error  { return nil }
func (c *connection) SetWriteDeadline(time.Time) error { return nil }

type listener chan net.Conn

func (l listener) Accept() (net.Conn, error) { return <-l, nil }
func (l listener) Close() error              { return nil }
func (l listener) Addr() net.Addr            { return &net.TCPAddr{} }

type key struct{}

func record(w http.ResponseWriter, r *http.Request) {
	result := &r.Context().Value(key{}).(*connection).result
	body, err := io.ReadAll(r.Body)
	if err != nil {
		result.Broken = true
		panic(http.ErrAbortHandler)
	}
	result.Requests = append(result.Requests, request{r.Method, r.RequestURI, r.Host, body, r.Close})
}

var statusLine = regexp.MustCompile(`HTTP/1\.[01] ([2-5]\d\d) `)

func (c *connection) finish() reading {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	found := statusLine.FindAllSubmatch(c.output.Bytes(), -1)
	if len(found) > len(c.result.Requests) {
		c.result.Refused, _ = strconv.Atoi(string(found[len(found)-1][1]))
	}
	return c.result
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "version" {
		os.Stdout.WriteString(runtime.Version() + "\n")
		return
	}
	accepted := make(listener)
	server := &http.Server{
		Handler:                      http.HandlerFunc(record),
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     log.New(io.Discard, "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, key{}, c.(*connection))
		},
	}
	go func() { log.Fatal(server.Serve(accepted)) }()
	lines := bufio.NewReader(os.Stdin)
	written := bufio.NewWriter(os.Stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		data, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(line)))
		if err != nil {
			log.Fatal(err)
		}
		c := &connection{input: bytes.NewReader(data), closed: make(chan struct{})}
		c.result.Requests = []request{}
		accepted <- c
		<-c.closed
		encoded, err := json.Marshal(c.finish())
		if err != nil {
			log.Fatal(err)
		}
		written.Write(append(encoded, '\n'))
	}
	written.Flush()
}
