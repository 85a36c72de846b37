-- Written by Reeve; run again at every start, changes nothing that is as it should be.
SET client_min_messages = warning;
ALTER ROLE postgres PASSWORD {{ params.password }};
{% for database in params.databases %}
SELECT 'CREATE ROLE ' || quote_ident({{ database.owner }}) WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {{ database.owner }}) \gexec
ALTER ROLE {{ database.owner | sql_name }} LOGIN PASSWORD {{ database.password }};
SELECT 'CREATE DATABASE ' || quote_ident({{ database.name }}) WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = {{ database.name }}) \gexec
ALTER DATABASE {{ database.name | sql_name }} OWNER TO {{ database.owner | sql_name }};
{% endfor %}
