// What cel-go makes of expressions: the conformance cases of its module and cases given on standard input.
//
// Answers one JSON object a line: where the case is from, its expression, and the value or the error.
package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/ext"
	_ "cel.dev/expr/conformance/proto2"
	_ "cel.dev/expr/conformance/proto3"
	testpb "cel.dev/expr/conformance/test"
	"google.golang.org/protobuf/encoding/prototext"
)

type answer struct {
	Where string `json:"where"`
	Expr  string `json:"expr"`
	Value string `json:"value,omitempty"`
	Error string `json:"error,omitempty"`
}

type question struct {
	Expr string                     `json:"expr"`
	Data map[string]json.RawMessage `json:"data"`
	Text map[string]string          `json:"text"`
}

func environment() *cel.Env {
	objects := cel.MapType(cel.StringType, cel.DynType)
	options := []cel.EnvOption{ext.Strings(), cel.Function("checksum",
		cel.Overload("checksum_string", []*cel.Type{cel.StringType}, cel.StringType,
			cel.UnaryBinding(func(value ref.Val) ref.Val {
				sum := sha256.Sum256([]byte(value.Value().(string)))
				return types.String(hex.EncodeToString(sum[:]))
			})))}
	for _, name := range []string{"input", "additional_metadata", "payload", "output", "parents", "headers"} {
		options = append(options, cel.Variable(name, objects))
	}
	for _, name := range []string{"workflow_run_id", "event_id", "event_key"} {
		options = append(options, cel.Variable(name, cel.StringType))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		panic(err)
	}
	return env
}

// A text that is equal exactly if two values are.
func canonical(value ref.Val) string {
	switch v := value.(type) {
	case types.Bool:
		return strconv.FormatBool(bool(v))
	case types.Int:
		return "int " + strconv.FormatInt(int64(v), 10)
	case types.Uint:
		return "int " + strconv.FormatUint(uint64(v), 10)
	case types.Double:
		return "double " + strings.ToLower(strings.TrimPrefix(strconv.FormatFloat(float64(v), 'e', 12, 64), "+"))
	case types.String:
		return "text " + hex.EncodeToString([]byte(string(v)))
	case types.Bytes:
		return "bytes " + hex.EncodeToString([]byte(v))
	case types.Null:
		return "null"
	case types.Timestamp:
		return "timestamp " + strconv.FormatInt(v.UnixMicro(), 10)
	case types.Duration:
		return "duration " + strconv.FormatInt(int64(v.Duration/time.Microsecond), 10)
	case traits.Mapper:
		parts := []string{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			key := it.Next()
			parts = append(parts, canonical(key)+": "+canonical(v.Get(key)))
		}
		sort.Strings(parts)
		return "{" + strings.Join(parts, ", ") + "}"
	case traits.Lister:
		parts := []string{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			parts = append(parts, canonical(it.Next()))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return strings.ToLower("other " + value.Type().TypeName())
}

func evaluate(env *cel.Env, where, expr string, data map[string]any) answer {
	given := answer{Where: where, Expr: expr}
	ast, issues := env.Compile(expr)
	if issues != nil && issues.Err() != nil {
		given.Error = "compile: " + issues.Err().Error()
		return given
	}
	program, err := env.Program(ast)
	if err == nil {
		var value ref.Val
		if value, _, err = program.Eval(data); err == nil {
			given.Value = canonical(value)
			return given
		}
	}
	given.Error = err.Error()
	return given
}

func main() {
	env := environment()
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	encoder := json.NewEncoder(out)
	var questions []question
	if err := json.NewDecoder(os.Stdin).Decode(&questions); err != nil {
		panic(err)
	}
	for _, asked := range questions {
		data := map[string]any{}
		for name, text := range asked.Data {
			object := map[string]any{}
			if err := json.Unmarshal(text, &object); err != nil {
				panic(err)
			}
			data[name] = object
		}
		for name, text := range asked.Text {
			data[name] = text
		}
		encoder.Encode(evaluate(env, "given", asked.Expr, data))
	}
	files, _ := filepath.Glob(filepath.Join(os.Args[1], "*.textproto"))
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			panic(err)
		}
		suite := &testpb.SimpleTestFile{}
		if err := prototext.Unmarshal(text, suite); err != nil {
			fmt.Fprintln(os.Stderr, path, err)
			continue
		}
		for _, section := range suite.GetSection() {
			for _, test := range section.GetTest() {
				bare := len(test.GetTypeEnv()) == 0 && len(test.GetBindings()) == 0 && test.GetContainer() == ""
				if bare && !test.GetDisableCheck() {
					where := suite.GetName() + "/" + section.GetName() + "/" + test.GetName()
					encoder.Encode(evaluate(env, where, test.GetExpr(), map[string]any{}))
				}
			}
		}
	}
}
