// A client with Go's net/http, as kube-apiserver is one. It sends calls one after the other.
//
// Usage: go_client ADDRESS CA. Each line of the input is a call, each line of the output what came of it.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"time"
)

type call struct {
	Method string            `json:"method"`
	Path   string            `json:"path"`
	Fields map[string]string `json:"fields"`
	Body   string            `json:"body"`
	// Bytes of white space after the body.
	Padding int `json:"padding"`
	// Whether the length is not announced, so that the body is sent in chunks.
	Chunked bool `json:"chunked"`
}

type outcome struct {
	Status    int               `json:"status"`
	Fields    map[string]string `json:"fields"`
	Body      string            `json:"body"`
	Length    int64             `json:"length"`
	Closes    bool              `json:"closes"`
	Reused    bool              `json:"reused"`
	Continued bool              `json:"continued"`
	Error     string            `json:"error"`
}

func send(client *http.Client, address string, c call) (result outcome) {
	content := append([]byte(c.Body), bytes.Repeat([]byte(" "), c.Padding)...)
	var body io.Reader
	if len(content) > 0 {
		body = bytes.NewReader(content)
		if c.Chunked {
			body = io.MultiReader(body)
		}
	}
	trace := &httptrace.ClientTrace{
		GotConn:        func(info httptrace.GotConnInfo) { result.Reused = info.Reused },
		Got100Continue: func() { result.Continued = true },
		Got1xxResponse: func(int, textproto.MIMEHeader) error { return nil },
	}
	ctx := httptrace.WithClientTrace(context.Background(), trace)
	request, err := http.NewRequestWithContext(ctx, c.Method, "https://"+address+c.Path, body)
	if err != nil {
		log.Fatal(err)
	}
	for name, value := range c.Fields {
		request.Header.Set(name, value)
	}
	response, err := client.Do(request)
	if err != nil {
		result.Error = err.Error()
		return result
	}
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	if err != nil {
		result.Error = err.Error()
	}
	result.Status = response.StatusCode
	result.Body = string(read)
	result.Length = response.ContentLength
	result.Closes = response.Close
	result.Fields = map[string]string{}
	for name := range response.Header {
		result.Fields[name] = response.Header.Get(name)
	}
	return result
}

func main() {
	ca, err := os.ReadFile(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	client := &http.Client{
		Timeout: 30 * time.Second,
		Transport: &http.Transport{
			TLSClientConfig:       &tls.Config{RootCAs: roots},
			ExpectContinueTimeout: 20 * time.Second,
			ForceAttemptHTTP2:     true, // as kube-apiserver does
		},
	}
	calls := json.NewDecoder(bufio.NewReader(os.Stdin))
	results := json.NewEncoder(os.Stdout)
	for {
		var c call
		if err := calls.Decode(&c); err == io.EOF {
			return
		} else if err != nil {
			log.Fatal(err)
		}
		if err := results.Encode(send(client, os.Args[1], c)); err != nil {
			log.Fatal(err)
		}
	}
}
