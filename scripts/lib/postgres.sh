# shellcheck shell=bash
# Sourced: a PostgreSQL server of our own, in a directory of our own, reachable over a Unix socket only.
# Network namespaces share the file system, so every host of the lab reaches it without touching the network.

# find_postgres: puts Debian's newest server into PATH; returns 1 where there is none.
find_postgres() {
    local directory
    while read -r directory; do
        [[ -x $directory/initdb && -x $directory/pgbench && -x $directory/pg_restore ]] || continue
        PATH=$directory:$PATH
        return 0
    done < <(printf '%s\n' /usr/lib/postgresql/*/bin | sort -t/ -k5,5nr)
    has initdb postgres pgbench pg_dump pg_restore psql
}

# start_postgres DIRECTORY: initialises and starts a server there and points libpq's environment at it.
# The server refuses to run as root: root becomes postgres, and the root of a user namespace takes an id without rights.
start_postgres() {
    local as_nobody=()
    if ((EUID == 0)); then
        if setpriv --reuid=postgres --regid=postgres --clear-groups true 2>/dev/null; then
            as_nobody=(setpriv --reuid=postgres --regid=postgres --clear-groups)
        else
            as_nobody=(unshare --user --map-user=65534 --map-group=65534)
        fi
    fi
    # If this script is killed, the server goes with it.
    as_nobody+=(setpriv --pdeathsig QUIT)

    install -d -m 700 "$1/data" "$1/socket"
    [[ ${as_nobody[*]} != *reuid* ]] || chown postgres:postgres "$1/data" "$1/socket"
    chmod 755 "$1"
    unset PGSERVICE PGSERVICEFILE PGOPTIONS PGPASSFILE PGHOSTADDR PGSSLMODE
    export PGHOST=$1/socket PGPORT=5432 PGUSER=postgres PGDATABASE=postgres PGCONNECT_TIMEOUT=10

    (cd "$1" && exec "${as_nobody[@]}" initdb -D data -U postgres -A trust -E UTF8 --locale=C --no-sync \
        >initdb.log 2>&1) || { cat "$1/initdb.log" >&2 && return 1; }
    rm "$1/initdb.log"
    # Durability is not what is tried here, and a test's data is dropped anyway.
    (cd "$1" && exec "${as_nobody[@]}" postgres -D data -k "$1/socket" -c listen_addresses= -c max_connections=30 \
        -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c wal_level=minimal -c max_wal_senders=0 \
        -c max_wal_size=4GB -c checkpoint_timeout=1h -c autovacuum=off -c shared_buffers=128MB \
        -c maintenance_work_mem=128MB -c jit=off -c max_parallel_workers_per_gather=0 >postgres.log 2>&1 </dev/null) &
    postgres_pid=$!
    wait_until 60 postgres_answers_or_died
    pg_isready -q || { cat "$1/postgres.log" >&2 && return 1; }
}
postgres_answers_or_died() { pg_isready -q || process_is_gone "$postgres_pid"; }

stop_postgres() {
    [[ -z ${postgres_pid-} ]] || end_process "$postgres_pid" QUIT
    postgres_pid=
}

# sql DATABASE STATEMENT: its rows, bare, fields between tabs.
sql() { psql -X -q -A -t -F $'\t' -v ON_ERROR_STOP=1 -d "$1" -c "$2"; }

# database_content DATABASE: a line for every table, and one for large objects: name, rows, digest.
# A digest is the sum of two 64-bit hashes of each row, so the order of the rows does not matter.
database_content() {
    local table
    sql "$1" "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
              WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1" |
        { cat && echo pg_catalog.pg_largeobject; } |
        while read -r table; do
            sql "$1" "SELECT '$table', count(*), coalesce(to_hex((sum(hashtextextended(t::text, 1)::numeric)
                         % 9223372036854775807)::bigint) || to_hex((sum(hashtextextended(t::text, 2)::numeric)
                         % 9223372036854775807)::bigint), '-') FROM $table t" || exit 1
        done
}

# database_schema DATABASE: tables, indexes, keys, views and sequences as statements. Newer versions of pg_dump add a
# random word at both ends.
database_schema() { pg_dump -s -O -x -d "$1" | sed '/^\\\(un\)\{0,1\}restrict /d'; }
