// Package platformdb reads IT users and their numeric ids from the database of one environment of the platform: the view
// OSSYS_USER of SQL Server, Oracle or PostgreSQL.
//
// It sends one SELECT in a transaction that writes nothing, and knows how each database is connected to. What becomes of the
// ids is decided by package itusers.
package platformdb

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
)

// Config is the database of one environment.
type Config struct {
	Environment string       `yaml:"environment" required:"true" doc:"whose ids these are"`
	Driver      string       `yaml:"driver" required:"true" enum:"sqlserver,oracle,postgres" doc:"the kind of database"`
	Host        string       `yaml:"host" required:"true" doc:"its server"`
	Port        int          `yaml:"port" doc:"absent: 1433, 1521 (TLS: 2484) or 5432"`
	Database    string       `yaml:"database" required:"true" doc:"the database; of Oracle the service"`
	User        string       `yaml:"user" required:"true" doc:"may read the view, and nothing else"`
	Password    authn.Secret `yaml:"password" required:"true" doc:"of this user"`
	View        string       `yaml:"view" default:"OSSYS_USER" doc:"with its schema where need be, such as dbo.OSSYS_USER"`
	Tenants     []int        `yaml:"tenants" required:"true" doc:"Tenant_Id of IT users; end users of applications are in other ones"`

	CAFile            string        `yaml:"ca_file" doc:"PEM file of the authorities that may have signed the server's certificate; absent: the system's"`
	InsecurePlaintext bool          `yaml:"insecure_plaintext" doc:"without TLS: password and users cross the network readable"`
	MaxRows           int           `yaml:"max_rows" default:"500000" doc:"more users than this are a mistake, and an error"`
	Timeout           time.Duration `yaml:"timeout" default:"60s" doc:"for the whole of a reading"`
}

// Reasons of errors.
const (
	reasonUnreachable = "platformdb_unreachable"
	reasonUnreadable  = "platformdb_unreadable"
	reasonTooMany     = "platformdb_too_many"
)

// Source is such a database. It connects anew in each run, and leaves no connection behind.
type Source struct {
	config Config
	kind   kind
	tls    *tls.Config // nil: none
}

var _ itusers.Source = (*Source)(nil)

// viewName has no place for anything but names.
var viewName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_$#]*(\.[A-Za-z_][A-Za-z0-9_$#]*){0,2}$`)

// New checks the configuration; it dials nothing. environments are the known ones.
func New(c Config, environments []string) (*Source, error) {
	var errs []error
	refuseIf := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	k, known := kinds[c.Driver]
	refuseIf(!known, "driver: %q is none of sqlserver, oracle, postgres", c.Driver)
	refuseIf(!slices.Contains(environments, c.Environment), "environment: %q is none of environments (%s)", c.Environment,
		strings.Join(environments, ", "))
	refuseIf(c.Host == "" || strings.ContainsAny(c.Host, " /\\?#@,;"), "host: %q is not the name of a server", c.Host)
	refuseIf(c.Port < 0 || c.Port > math.MaxUint16, "port: %d is no port", c.Port)
	refuseIf(!viewName.MatchString(c.View), "view: %q is not a name, with or without a schema", c.View)
	refuseIf(len(c.Tenants) == 0, "tenants: is empty: the end users of applications would become IT users")
	refuseIf(c.MaxRows < 1, "max_rows: is less than 1")
	refuseIf(c.Timeout <= 0, "timeout: must be longer than 0s")
	refuseIf(c.InsecurePlaintext && c.CAFile != "", "ca_file: has no meaning with insecure_plaintext")
	s := &Source{config: c, kind: k}
	if !c.InsecurePlaintext {
		s.tls = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.Host}
	}
	if c.CAFile != "" && s.tls != nil {
		pem, err := os.ReadFile(c.CAFile)
		refuseIf(err != nil, "ca_file: %v", err)
		s.tls.RootCAs = x509.NewCertPool()
		refuseIf(err == nil && !s.tls.RootCAs.AppendCertsFromPEM(pem), "ca_file: %s holds no PEM certificate", c.CAFile)
	}
	return s, errors.Join(errs...)
}

func (s *Source) port() int {
	if s.config.Port != 0 {
		return s.config.Port
	}
	return s.kind.port(s.tls != nil)
}

func (s *Source) server() string { return net.JoinHostPort(s.config.Host, strconv.Itoa(s.port())) }

// query selects the users, one more than may be.
func (s *Source) query() string {
	var tenants []string
	for _, t := range s.config.Tenants {
		tenants = append(tenants, strconv.Itoa(t))
	}
	return s.kind.query(s.config.View, strings.Join(tenants, ", "), s.config.MaxRows+1)
}

// Users implements itusers.Source. Unavailable (platformdb_unreachable, platformdb_unreadable, platformdb_too_many).
func (s *Source) Users(ctx context.Context, take func(itusers.Listed) error) error {
	n := 0
	return s.read(ctx, func(rows *sql.Rows) error {
		if n++; n > s.config.MaxRows {
			return authn.Errorf(authn.Unavailable, reasonTooMany, "%s has more than %d users in these tenants: correct tenants or max_rows",
				s.config.View, s.config.MaxRows)
		}
		l, err := s.listed(rows)
		if err != nil {
			return s.unreadable(err)
		}
		return take(l)
	})
}

// Check implements itusers.Source.
func (s *Source) Check(ctx context.Context) (string, error) {
	n, active := 0, 0
	err := s.Users(ctx, func(l itusers.Listed) error {
		n++
		if l.Active == nil || *l.Active {
			active++
		}
		return nil
	})
	return fmt.Sprintf("%s at %s, %d users, %d of them active", s.config.View, s.server(), n, active), err
}

// read runs the query, on a connection of its own.
func (s *Source) read(ctx context.Context, row func(*sql.Rows) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	connector, err := s.kind.connect(s)
	if err != nil {
		return s.unreachable(err)
	}
	db := sql.OpenDB(connector)
	defer func() { _ = db.Close() }()
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: s.kind.readOnly})
	if err != nil {
		return s.unreachable(err)
	}
	defer func() { _ = tx.Rollback() }()
	if s.kind.begin != "" {
		if _, err := tx.ExecContext(ctx, s.kind.begin); err != nil {
			return s.unreadable(err)
		}
	}
	rows, err := tx.QueryContext(ctx, s.query())
	if err != nil {
		return s.unreadable(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := row(rows); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil { // what was read so far is not all
		return s.unreadable(err)
	}
	return nil
}

// listed reads one row. An id that no user can have is 0, which is refused by name.
func (s *Source) listed(rows *sql.Rows) (l itusers.Listed, err error) {
	var id int64
	var username, name, email sql.NullString
	var active any
	if err := rows.Scan(&id, &username, &name, &email, &active); err != nil {
		return l, err
	}
	if id < 1 || id > math.MaxInt32 {
		id = 0
	}
	on, err := truth(active)
	return itusers.Listed{
		Ref: strconv.FormatInt(id, 10), Username: username.String, Name: &name.String, Email: &email.String, Active: &on,
		IDs: map[string]int32{s.config.Environment: int32(id)},
	}, err
}

// truth reads Is_Active: a bit, a number or a boolean.
func truth(value any) (bool, error) {
	if raw, ok := value.([]byte); ok {
		value = string(raw)
	}
	switch text := strings.ToLower(fmt.Sprint(value)); text {
	case "1", "true", "t":
		return true, nil
	case "0", "false", "f", "<nil>":
		return false, nil
	default:
		return false, fmt.Errorf("Is_Active is %q", text)
	}
}

func (s *Source) unreachable(err error) error {
	return authn.Errorf(authn.Unavailable, reasonUnreachable, "%s: %s", s.server(), s.masked(err))
}

func (s *Source) unreadable(err error) error {
	var known *authn.Error
	if errors.As(err, &known) {
		return err
	}
	return authn.Errorf(authn.Unavailable, reasonUnreadable, "%s at %s: %s: may the user read it, and are the columns Id, Tenant_Id, "+
		"Username, Name, Email and Is_Active there?", s.config.View, s.server(), s.masked(err))
}

// masked keeps a driver from telling the password.
func (s *Source) masked(err error) string {
	return strings.ReplaceAll(err.Error(), s.config.Password.Reveal(), "<secret>")
}
