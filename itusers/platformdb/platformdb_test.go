package platformdb_test

import (
	"database/sql"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/idbridge/idbridge/authn"
	"github.com/idbridge/idbridge/itusers"
	"github.com/idbridge/idbridge/itusers/platformdb"
	"github.com/idbridge/idbridge/testenv"
)

// platform is a database as an environment has one, with a user who may read the view and nothing else.
func platform(t *testing.T) (*sql.DB, platformdb.Config) {
	t.Helper()
	dsn := testenv.Postgres(t).NewDatabase(t)
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	execute(t, db, `CREATE TABLE ossys_user_t (id BIGINT PRIMARY KEY, tenant_id INT, name TEXT, username TEXT, email TEXT, is_active INT)`,
		`CREATE VIEW ossys_user AS SELECT * FROM ossys_user_t`,
		`INSERT INTO ossys_user_t VALUES (7, 1, 'Ann', 'ann', 'ann@example.test', 1), (8, 1, NULL, 'bob', NULL, 0),
			(9, 23, 'An End User', 'ann', '', 1)`,
		`DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'reader') THEN CREATE ROLE reader LOGIN PASSWORD 'secret'; END IF; END $$`,
		`GRANT SELECT ON ossys_user TO reader`)
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	return db, platformdb.Config{
		Environment: "production", Driver: "postgres", Host: u.Hostname(), Port: port, Database: strings.TrimPrefix(u.Path, "/"),
		User: "reader", Password: "secret", View: "OSSYS_USER", Tenants: []int{1}, InsecurePlaintext: true, MaxRows: 100,
		Timeout: 20 * time.Second,
	}
}

func execute(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func open(t *testing.T, c platformdb.Config) *platformdb.Source {
	t.Helper()
	s, err := platformdb.New(c, []string{"production"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func listed(t *testing.T, s *platformdb.Source) (list []string, err error) {
	t.Helper()
	err = s.Users(t.Context(), func(l itusers.Listed) error {
		list = append(list, fmt.Sprintf("%s %s %q <%s> %v %v", l.Ref, l.Username, *l.Name, *l.Email, *l.Active, l.IDs))
		return nil
	})
	return list, err
}

func TestUsers(t *testing.T) {
	db, c := platform(t)
	s := open(t, c)
	list, err := listed(t, s)
	want := []string{`7 ann "Ann" <ann@example.test> true map[production:7]`, `8 bob "" <> false map[production:8]`}
	if err != nil || !slices.Equal(list, want) {
		t.Errorf("got %q, %v; want %q", list, err, want)
	}
	if seen, err := s.Check(t.Context()); err != nil || !strings.Contains(seen, "2 users, 1 of them active") {
		t.Errorf("check: %q, %v", seen, err)
	}
	execute(t, db, `INSERT INTO ossys_user_t VALUES (3000000000, 1, '', 'far', '', 1)`)
	if list, err := listed(t, s); err != nil || list[2] != `0 far "" <> true map[production:0]` {
		t.Errorf("an id out of range: %q, %v", list, err)
	}
	c.Tenants = []int{23, 1}
	if list, err := listed(t, open(t, c)); err != nil || len(list) != 4 {
		t.Errorf("two tenants: %q, %v", list, err)
	}
}

// TestRefusals: what cannot be read to the end is an error with its reason.
func TestRefusals(t *testing.T) {
	db, good := platform(t)
	with := func(change func(*platformdb.Config)) platformdb.Config {
		c := good
		change(&c)
		return c
	}
	for name, test := range map[string]struct {
		config platformdb.Config
		reason string
	}{
		"too many":       {with(func(c *platformdb.Config) { c.MaxRows = 1 }), "platformdb_too_many"},
		"no view":        {with(func(c *platformdb.Config) { c.View = "dbo.OSSYS_USER" }), "platformdb_unreadable"},
		"no right":       {with(func(c *platformdb.Config) { c.View = "OSSYS_USER_T" }), "platformdb_unreadable"},
		"nobody":         {with(func(c *platformdb.Config) { c.User = "nobody" }), "platformdb_unreachable"},
		"no database":    {with(func(c *platformdb.Config) { c.Database = "other" }), "platformdb_unreachable"},
		"no TLS there":   {with(func(c *platformdb.Config) { c.InsecurePlaintext = false }), "platformdb_unreachable"},
		"nobody listens": {with(func(c *platformdb.Config) { c.Port = testenv.FreePort(t) }), "platformdb_unreachable"},
		"SQL Server":     {with(func(c *platformdb.Config) { c.Driver, c.Port = "sqlserver", testenv.FreePort(t) }), "platformdb_unreachable"},
		"Oracle":         {with(func(c *platformdb.Config) { c.Driver, c.Port = "oracle", testenv.FreePort(t) }), "platformdb_unreachable"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := listed(t, open(t, test.config))
			if authn.ReasonOf(err) != test.reason || authn.KindOf(err) != authn.Unavailable {
				t.Errorf("got %v, want %s", err, test.reason)
			}
			if strings.Contains(fmt.Sprint(err), "secret") {
				t.Errorf("the password is in %v", err)
			}
		})
	}
	execute(t, db, `ALTER TABLE ossys_user_t ADD COLUMN more INT`, `CREATE OR REPLACE VIEW ossys_user AS SELECT id, tenant_id, name,
		username, email, CASE WHEN id = 8 THEN 2 ELSE is_active END AS is_active FROM ossys_user_t`)
	if _, err := listed(t, open(t, good)); authn.ReasonOf(err) != "platformdb_unreadable" || !strings.Contains(err.Error(), `Is_Active is "2"`) {
		t.Errorf("a state nobody knows: %v", err)
	}
	execute(t, db, `CREATE FUNCTION spoil() RETURNS INT LANGUAGE plpgsql AS $$ BEGIN DELETE FROM ossys_user_t; RETURN 1; END $$`,
		`ALTER FUNCTION spoil() SECURITY DEFINER`,
		`CREATE VIEW trap AS SELECT id, tenant_id, name, username, email, spoil() AS is_active FROM ossys_user_t`, `GRANT SELECT ON trap TO reader`)
	_, err := listed(t, open(t, with(func(c *platformdb.Config) { c.View = "trap" })))
	if authn.ReasonOf(err) != "platformdb_unreadable" || !strings.Contains(err.Error(), "read-only transaction") {
		t.Errorf("a view that writes: %v", err)
	}
}

func TestConfig(t *testing.T) {
	good := platformdb.Config{Environment: "production", Driver: "sqlserver", Host: "db.example.test", Database: "outsystems", User: "reader",
		Password: "x", View: "dbo.OSSYS_USER", Tenants: []int{1}, MaxRows: 1, Timeout: time.Second}
	if _, err := platformdb.New(good, []string{"production"}); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*platformdb.Config){
		"driver: ":      func(c *platformdb.Config) { c.Driver = "mysql" },
		"environment: ": func(c *platformdb.Config) { c.Environment = "test" },
		"host: ":        func(c *platformdb.Config) { c.Host = "db;user=sa" },
		"port: ":        func(c *platformdb.Config) { c.Port = 70_000 },
		"view: ":        func(c *platformdb.Config) { c.View = "OSSYS_USER; DROP TABLE x" },
		"tenants: ":     func(c *platformdb.Config) { c.Tenants = nil },
		"max_rows: ":    func(c *platformdb.Config) { c.MaxRows = 0 },
		"timeout: ":     func(c *platformdb.Config) { c.Timeout = 0 },
		"ca_file: open": func(c *platformdb.Config) { c.CAFile = "nowhere.pem" },
	} {
		c := good
		change(&c)
		if _, err := platformdb.New(c, []string{"production"}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s…", err, want)
		}
	}
}

// TestNothingInClear: with TLS, what each driver says first is the wish for TLS, and to a server that answers otherwise it says
// nothing more.
func TestNothingInClear(t *testing.T) {
	for driver, begins := range map[string]string{
		"postgres":  "\x00\x00\x00\x08\x04\xd2\x16\x2f", // SSLRequest
		"oracle":    "\x16\x03",                         // a TLS handshake
		"sqlserver": "\x12\x01",                         // PRELOGIN
	} {
		t.Run(driver, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			heard := make(chan []byte, 16)
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						close(heard)
						return
					}
					first := make([]byte, 4096)
					n, _ := c.Read(first)
					_, _ = c.Write([]byte("N")) // PostgreSQL's way to say no; nonsense to the others
					heard <- first[:n]
					_ = c.Close()
				}
			}()
			c := platformdb.Config{Environment: "production", Driver: driver, Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port,
				Database: "db", User: "canary-user", Password: "canary-password", View: "OSSYS_USER", Tenants: []int{1}, MaxRows: 1,
				Timeout: 5 * time.Second}
			if _, err := listed(t, open(t, c)); authn.ReasonOf(err) != "platformdb_unreachable" {
				t.Errorf("got %v", err)
			}
			_ = l.Close()
			n := 0
			for said := range heard {
				if n++; !strings.HasPrefix(string(said), begins) || strings.Contains(string(said), "canary") {
					t.Errorf("it said %q", said)
				}
			}
			if n == 0 {
				t.Error("it said nothing")
			}
		})
	}
}
