// A server of grpc-go with the methods of bench/transport.py: each call has a token that is looked up, a rate
// limit and a duration that is recorded, as there.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const identifier = "00000000-0000-7000-8000-000000000001"

var bounds = []float64{0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

// around is what happens around every call.
type around struct {
	tokens map[string]string

	mu      sync.Mutex
	left    float64
	at      time.Time
	seconds map[string][]int
}

func (a *around) admit(ctx context.Context) error {
	given, _ := metadata.FromIncomingContext(ctx)
	header := given.Get("authorization")
	if len(header) == 0 || a.tokens[header[0]] == "" {
		return status.Error(codes.Unauthenticated, "invalid auth token")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.left = min(1e9, a.left+now.Sub(a.at).Seconds()*1e9)
	a.at = now
	if a.left < 1 {
		return status.Error(codes.ResourceExhausted, "too many requests")
	}
	a.left--
	return nil
}

func (a *around) measured(method string, began time.Time) {
	slot := sort.SearchFloat64s(bounds, time.Since(began).Seconds())
	a.mu.Lock()
	defer a.mu.Unlock()
	counts := a.seconds[method]
	if counts == nil {
		counts = make([]int, len(bounds)+1)
		a.seconds[method] = counts
	}
	counts[slot]++
}

func (a *around) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	defer a.measured(info.FullMethod, time.Now())
	if err := a.admit(ctx); err != nil {
		return nil, err
	}
	return handler(ctx, request)
}

func (a *around) stream(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	defer a.measured(info.FullMethod, time.Now())
	if err := a.admit(stream.Context()); err != nil {
		return err
	}
	return handler(server, stream)
}

type dispatcher struct {
	UnimplementedDispatcherServer
	action *Action

	mu     sync.Mutex
	commit chan struct{}
}

// SendStepActionEvent answers at once.
func (d *dispatcher) SendStepActionEvent(_ context.Context, report *Report) (*Receipt, error) {
	return &Receipt{TenantId: identifier, WorkerId: report.WorkerId}, nil
}

// Heartbeat waits for something that others wait for too.
func (d *dispatcher) Heartbeat(ctx context.Context, _ *Beat) (*Nothing, error) {
	d.mu.Lock()
	if d.commit == nil {
		d.commit = make(chan struct{})
		go d.committed()
	}
	commit := d.commit
	d.mu.Unlock()
	select {
	case <-commit:
		return &Nothing{}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (d *dispatcher) committed() {
	runtime.Gosched()
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.commit)
	d.commit = nil
}

// ListenV2 sends as many messages as the worker's id says.
func (d *dispatcher) ListenV2(listen *Listen, stream grpc.ServerStreamingServer[Action]) error {
	count, err := strconv.Atoi(listen.WorkerId)
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	for range count {
		if err := stream.Send(d.action); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	tls := flag.String("tls", "", "folder with server.crt and server.key")
	flag.Parse()
	rules := &around{
		tokens:  map[string]string{"bearer " + strings.Repeat("t", 300): identifier},
		at:      time.Now(),
		seconds: map[string][]int{},
	}
	options := []grpc.ServerOption{
		grpc.UnaryInterceptor(rules.unary),
		grpc.StreamInterceptor(rules.stream),
		grpc.InitialWindowSize(10 << 20),
		grpc.InitialConnWindowSize(16 << 20),
	}
	if *tls != "" {
		own, err := credentials.NewServerTLSFromFile(*tls+"/server.crt", *tls+"/server.key")
		if err != nil {
			log.Fatal(err)
		}
		options = append(options, grpc.Creds(own))
	}
	payload, err := json.Marshal(map[string]any{
		"input": map[string]string{"message": strings.Repeat("x", 150)}, "triggered_by": "manual",
	})
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(options...)
	RegisterDispatcherServer(server, &dispatcher{action: &Action{
		TenantId: identifier, WorkflowRunId: identifier, JobId: identifier, JobName: "bench", TaskId: identifier,
		TaskRunExternalId: identifier, ActionId: "bench:run", ActionPayload: string(payload), TaskName: "run",
	}})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprintf(os.Stdout, "{\"port\": %d}\n", listener.Addr().(*net.TCPAddr).Port)
	log.Fatal(server.Serve(listener))
}
