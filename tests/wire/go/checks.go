// One worker and its client in one process, with the official Go SDK. Each check prints a JSON line.
// Told `storm` it is a worker for the fault tests instead.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/hatchet-dev/hatchet/pkg/client/rest"
	"github.com/hatchet-dev/hatchet/pkg/worker"
	hatchet "github.com/hatchet-dev/hatchet/sdks/go"
)

type Text struct {
	Text string `json:"text"`
}

type Echo struct {
	Input    Text              `json:"input"`
	Metadata map[string]string `json:"metadata"`
	Retry    int               `json:"retry"`
}

type Gathered struct {
	Texts []string `json:"texts"`
	Same  bool     `json:"same"`
}

type flows struct {
	client                                        *hatchet.Client
	echo, flaky, hopeless, parent, waits, durable *hatchet.StandaloneTask
	running                                       chan string
	cancelled                                     chan bool
	streams                                       *hatchet.StandaloneTask
	seen                                          chan struct{}
	dag                                           *hatchet.Workflow
}

type Ends struct {
	First Text `json:"first"`
	Last  Last `json:"last"`
}

type Last struct {
	Text    string `json:"text"`
	Skipped bool   `json:"skipped"`
}

func declare(client *hatchet.Client) *flows {
	f := &flows{
		client:    client,
		running:   make(chan string, 1),
		cancelled: make(chan bool, 1),
		seen:      make(chan struct{}),
	}
	f.echo = client.NewStandaloneTask("go-echo", func(ctx hatchet.Context, input Text) (Echo, error) {
		return Echo{Input: input, Metadata: ctx.AdditionalMetadata(), Retry: ctx.RetryCount()}, nil
	})
	f.flaky = client.NewStandaloneTask("go-flaky", func(ctx hatchet.Context, input Text) (Echo, error) {
		if ctx.RetryCount() < 2 {
			return Echo{}, fmt.Errorf("attempt %d fails", ctx.RetryCount())
		}
		return Echo{Retry: ctx.RetryCount()}, nil
	}, hatchet.WithRetries(3))
	f.hopeless = client.NewStandaloneTask("go-hopeless", func(ctx hatchet.Context, input Text) (Echo, error) {
		return Echo{}, worker.NewNonRetryableError(errors.New("never again: naïve 日本"))
	}, hatchet.WithRetries(3))
	f.parent = client.NewStandaloneTask("go-parent", f.gather)
	f.waits = client.NewStandaloneTask("go-waits", func(ctx hatchet.Context, input Text) (Echo, error) {
		f.running <- ctx.WorkflowRunId()
		<-ctx.Done()
		f.cancelled <- true
		return Echo{}, ctx.Err()
	})
	f.streams = client.NewStandaloneTask("go-streams", f.stream)
	f.durable = client.NewStandaloneDurableTask("go-durable", func(ctx hatchet.DurableContext, input Text) (Text, error) {
		_, err := ctx.SleepFor(time.Second)
		return Text{}, err
	})
	f.steps()
	return f
}

// steps is a step, one behind it that is skipped, and one that joins both.
func (f *flows) steps() {
	f.dag = f.client.NewWorkflow("go-dag")
	first := f.dag.NewTask("first", func(ctx hatchet.Context, input Text) (Text, error) {
		return Text{Text: input.Text + "!"}, nil
	})
	skipped := f.dag.NewTask("skipped", func(ctx hatchet.Context, input Text) (Text, error) {
		return Text{Text: "ran"}, nil
	}, hatchet.WithParents(first), hatchet.WithSkipIf(hatchet.ParentCondition(first, "output.text == 'one!'")))
	f.dag.NewTask("last", func(ctx hatchet.Context, input Text) (Last, error) {
		var text Text
		err := ctx.ParentOutput(first, &text)
		return Last{Text: text.Text, Skipped: ctx.WasSkipped(skipped)}, err
	}, hatchet.WithParents(first, skipped))
}

func (f *flows) ends(ctx context.Context) (any, error) {
	result, err := f.dag.Run(ctx, Text{Text: "one"})
	if err != nil {
		return nil, err
	}
	var ends Ends
	if err := result.TaskOutput("first").Into(&ends.First); err != nil {
		return nil, err
	}
	return &ends, result.TaskOutput("last").Into(&ends.Last)
}

func (f *flows) gather(ctx hatchet.Context, input Text) (Gathered, error) {
	var found Gathered
	for _, text := range []string{"one", "two"} {
		result, err := f.echo.Run(ctx, Text{Text: text})
		if err != nil {
			return found, err
		}
		var child Echo
		if err := result.Into(&child); err != nil {
			return found, err
		}
		found.Texts = append(found.Texts, child.Input.Text)
	}
	var ids []string
	for range 2 {
		reference, err := f.echo.RunNoWait(ctx, Text{}, hatchet.WithRunKey("same"))
		if err != nil {
			return found, err
		}
		ids = append(ids, reference.RunId)
	}
	found.Same = ids[0] == ids[1]
	return found, nil
}

// stream sends dots until the reader says that it sees them: then it gets everything that follows.
func (f *flows) stream(ctx hatchet.Context, input Text) (Text, error) {
	f.running <- ctx.WorkflowRunId()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for waiting := true; waiting; {
		select {
		case <-f.seen:
			waiting = false
		case <-tick.C:
			ctx.PutStream(".")
		}
	}
	for number := range 10 {
		ctx.PutStream(fmt.Sprintf("%d;", number))
	}
	return Text{}, nil
}

func (f *flows) echoed(ctx context.Context, task *hatchet.StandaloneTask, opts ...hatchet.RunOptFunc) (any, error) {
	result, err := task.Run(ctx, Text{Text: "naïve 日本 💥"}, opts...)
	if err != nil {
		return nil, err
	}
	var echo Echo
	return &echo, result.Into(&echo)
}

func (f *flows) ended(ctx context.Context, id string) (string, int, error) {
	external, err := uuid.Parse(id)
	if err != nil {
		return "", 0, err
	}
	for {
		details, err := f.client.Runs().GetDetails(ctx, external)
		if err != nil {
			return "", 0, err
		}
		if details.Done {
			run, err := f.client.Runs().Get(ctx, id)
			if err != nil {
				return "", 0, err
			}
			return string(details.Status), *run.Tasks[0].RetryCount, nil
		}
	}
}

func failure(err error) (any, error) {
	if err == nil {
		return nil, errors.New("it did not fail")
	}
	return err.Error(), nil
}

func (f *flows) cancel(ctx context.Context) (any, error) {
	reference, err := f.waits.RunNoWait(ctx, Text{})
	if err != nil {
		return nil, err
	}
	id := <-f.running
	ids := []uuid.UUID{uuid.MustParse(id)}
	if _, err := f.client.Runs().Cancel(ctx, rest.V1CancelTaskRequest{ExternalIds: &ids}); err != nil {
		return nil, err
	}
	cancelled := <-f.cancelled
	status, _, err := f.ended(ctx, id)
	return map[string]any{"same": id == reference.RunId, "cancelled": cancelled, "status": status}, err
}

func (f *flows) replay(ctx context.Context) (any, error) {
	reference, err := f.echo.RunNoWait(ctx, Text{Text: "again"})
	if err != nil {
		return nil, err
	}
	if _, err := reference.Result(); err != nil {
		return nil, err
	}
	ids := []uuid.UUID{uuid.MustParse(reference.RunId)}
	if _, err := f.client.Runs().Replay(ctx, rest.V1ReplayTaskRequest{ExternalIds: &ids}); err != nil {
		return nil, err
	}
	for {
		status, retry, err := f.ended(ctx, reference.RunId)
		if err != nil || retry == 1 {
			return map[string]any{"status": status, "retry": retry}, err
		}
	}
}

func (f *flows) chunks(ctx context.Context) (any, error) {
	reference, err := f.streams.RunNoWait(ctx, Text{})
	if err != nil {
		return nil, err
	}
	<-f.running
	var text strings.Builder
	for chunk := range f.client.Runs().SubscribeToStream(ctx, reference.RunId) {
		if text.Len() == 0 {
			close(f.seen)
		}
		text.WriteString(chunk)
	}
	return strings.ReplaceAll(text.String(), ".", ""), nil
}

func main() {
	client, err := hatchet.NewClient()
	if err != nil {
		panic(err)
	}
	if len(os.Args) > 1 && os.Args[1] == "storm" {
		if err := storm(client); err != nil {
			panic(err)
		}
		return
	}
	f := declare(client)
	tasks := hatchet.WithWorkflows(f.echo, f.flaky, f.hopeless, f.parent, f.waits, f.streams, f.durable, f.dag)
	process, err := client.NewWorker("go-worker", tasks, hatchet.WithSlots(10))
	if err != nil {
		panic(err)
	}
	stop, err := process.Start()
	if err != nil {
		panic(err)
	}
	ctx, done := context.WithTimeout(context.Background(), 60*time.Second)
	defer done()
	say := json.NewEncoder(os.Stdout)
	check := func(name string, value any, err error) {
		if err != nil {
			_ = say.Encode(map[string]any{"check": name, "error": err.Error()})
			return
		}
		_ = say.Encode(map[string]any{"check": name, "value": value})
	}
	value, err := f.echoed(ctx, f.echo, hatchet.WithRunMetadata(map[string]string{"who": "me"}))
	check("run", value, err)
	value, err = f.echoed(ctx, f.flaky)
	check("retry", value, err)
	_, err = f.hopeless.Run(ctx, Text{})
	value, err = failure(err)
	check("failure", value, err)
	var gathered Gathered
	result, err := f.parent.Run(ctx, Text{})
	if err == nil {
		err = result.Into(&gathered)
	}
	check("children", gathered, err)
	value, err = f.cancel(ctx)
	check("cancel", value, err)
	value, err = f.replay(ctx)
	check("replay", value, err)
	value, err = f.chunks(ctx)
	check("stream", value, err)
	value, err = f.ends(ctx)
	check("dag", value, err)
	_, err = client.RunNoWait(ctx, "go-no-such-workflow", Text{})
	value, err = failure(err)
	check("unknown", value, err)
	_, err = f.durable.RunNoWait(ctx, Text{})
	value, err = failure(err)
	check("durable", value, err)
	check("stopped", true, stop())
}
