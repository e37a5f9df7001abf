-- Session-local functions that the statements of this folder share. The loader first creates
-- pg_temp.seed() and one pg_temp.<table>_<slot>(row) for each slot of slots.py.
--
-- Every value is computed from the seed and the row's number alone, so that rows can be made in any
-- order, and a row can name another one (a foreign key) without looking it up.

-- A non-negative 63-bit number for a row; `salt` separates the columns that use it.
CREATE FUNCTION pg_temp.h(i int8, salt int8) RETURNS int8 LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT hashint8extended(i, pg_temp.seed() * 1000 + salt) & 9223372036854775807 $$;

-- The primary key of row `i` of a kind of thing.
CREATE FUNCTION pg_temp.uid(kind text, i int8) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT md5(kind || ':' || pg_temp.seed()::text || ':' || i::text)::uuid $$;

-- Moments. Nothing asks the clock: what is over was over before mid 2024, what still holds does so
-- until 2099, whenever the sample is loaded.
CREATE FUNCTION pg_temp.past(r int8) RETURNS timestamp LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT timestamp '2019-07-01' + (r % 157766400) * interval '1 second' $$;  -- to 2024-06-30

CREATE FUNCTION pg_temp.future(r int8) RETURNS timestamp LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT timestamp '2099-01-01' + (r % 31536000) * interval '1 second' $$;

-- A tax file number of nine digits, valid by its check digit: weights 1,4,3,7,5,8,6,9,10, sum mod 11 = 0.
-- Ten is -1 mod 11, so the ninth digit is the sum of the others; where that is 10, the eighth digit moves on.
CREATE FUNCTION pg_temp.tfn9(r int8) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    n int8 := 10000000 + r % 90000000;
    rest int8;
BEGIN
    LOOP
        rest := (n / 10000000 + n / 1000000 % 10 * 4 + n / 100000 % 10 * 3 + n / 10000 % 10 * 7
            + n / 1000 % 10 * 5 + n / 100 % 10 * 8 + n / 10 % 10 * 6 + n % 10 * 9) % 11;
        EXIT WHEN rest < 10;
        n := n / 10 * 10 + (n + 1) % 10;
    END LOOP;
    RETURN (n * 10 + rest)::text;
END $$;

-- A tax file number of eight digits: weights 10,7,8,4,6,3,5,1, sum mod 11 = 0.
CREATE FUNCTION pg_temp.tfn8(r int8) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    n int8 := 1000000 + r % 9000000;
    rest int8;
BEGIN
    LOOP
        rest := (n / 1000000 * 10 + n / 100000 % 10 * 7 + n / 10000 % 10 * 8 + n / 1000 % 10 * 4
            + n / 100 % 10 * 6 + n / 10 % 10 * 3 + n % 10 * 5) % 11;
        EXIT WHEN rest <> 1;
        n := n / 10 * 10 + (n + 1) % 10;
    END LOOP;
    RETURN (n * 10 + (11 - rest) % 11)::text;
END $$;

-- A user's tax file number; every twentieth has eight digits.
CREATE FUNCTION pg_temp.tfn(i int8) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN i % 20 = 11 THEN pg_temp.tfn8(pg_temp.h(i, 10)) ELSE pg_temp.tfn9(pg_temp.h(i, 10)) END $$;

-- A user's older TFN column: another number than the one above.
CREATE FUNCTION pg_temp.older_tfn(i int8) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT pg_temp.tfn9(pg_temp.h(i, 11)) $$;

-- A two-factor secret: 32 base32 characters (0, 1, 8 and 9 are not in that alphabet).
CREATE FUNCTION pg_temp.two_factor_secret(i int8) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT upper(translate(md5('2fa:' || pg_temp.seed()::text || ':' || i::text), '0189', 'ghij')) $$;

-- The same number with its last digit moved on, which no check digit of ours survives.
CREATE FUNCTION pg_temp.misread(digits text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT left(digits, -1) || ((right(digits, 1)::int + 1) % 10)::text $$;

-- 123456782 as people write it in a sentence.
CREATE FUNCTION pg_temp.in_threes(digits text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT left(digits, 3) || ' ' || substr(digits, 4, 3) || ' ' || substr(digits, 7) $$;

-- An ABN: nine digits behind two check digits; 1 off the first, weights 10,1,3,5,...,19, sum mod 89 = 0.
CREATE FUNCTION pg_temp.abn(r int8) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    n int8 := 100000000 + r % 900000000;
    rest int8 := (n / 100000000 * 3 + n / 10000000 % 10 * 5 + n / 1000000 % 10 * 7 + n / 100000 % 10 * 9
        + n / 10000 % 10 * 11 + n / 1000 % 10 * 13 + n / 100 % 10 * 15 + n / 10 % 10 * 17 + n % 10 * 19) % 89;
BEGIN
    RETURN ((10 + (89 - rest) % 89) * 1000000000 + n)::text;
END $$;

-- A phone number in the spelling of `slot`: 0 to 23 are real numbers, 24 to 29 are none, 36 to 38 are
-- NULL and empty, all others E.164. None is longer than 20 characters.
CREATE FUNCTION pg_temp.phone(slot int8, r int8) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    m text := lpad((r % 40000000)::text, 8, '0');  -- behind 04 or +614: a mobile number
    a text := left(m, 2);
    b text := substr(m, 3, 3);
    c text := right(m, 3);
    d text := right(m, 4);
BEGIN
    RETURN CASE slot
        WHEN 0 THEN '04' || m
        WHEN 1 THEN '04' || a || ' ' || b || ' ' || c
        WHEN 2 THEN '04' || a || '-' || b || '-' || c
        WHEN 3 THEN '(04' || a || ') ' || b || ' ' || c
        WHEN 4 THEN '04 ' || left(m, 4) || ' ' || d
        WHEN 5 THEN '61 4' || a || ' ' || b || ' ' || c
        WHEN 6 THEN '+61 4' || a || ' ' || b || ' ' || c
        WHEN 7 THEN '+61 (0)4' || a || ' ' || b || ' ' || c
        WHEN 8 THEN '0011 61 4' || a || ' ' || b || ' ' || c
        WHEN 9 THEN '+614' || a || '-' || b || '-' || c
        WHEN 10 THEN '4' || a || ' ' || b || ' ' || c
        WHEN 11 THEN ' 04' || a || ' ' || b || ' ' || c || ' '
        WHEN 12 THEN '04' || a || '.' || b || '.' || c
        WHEN 13 THEN '029' || right(m, 7)
        WHEN 14 THEN '(02) 9' || b || ' ' || d
        WHEN 15 THEN '03 9' || b || ' ' || d
        WHEN 16 THEN '07-3' || b || '-' || d
        WHEN 17 THEN '+61 8 8' || '8' || left(b, 2) || ' ' || d
        WHEN 18 THEN '13 ' || (10 + r % 20) || ' ' || right(m, 2)
        WHEN 19 THEN '1300 ' || b || ' ' || c
        WHEN 20 THEN '1800 ' || b || ' ' || c
        WHEN 21 THEN '+64 21 ' || b || ' ' || d
        WHEN 22 THEN '+44 7400 ' || b || c
        WHEN 23 THEN '+1 (415) 6' || left(b, 2) || '-' || d
        WHEN 24 THEN '12345'
        WHEN 25 THEN 'not given'
        WHEN 26 THEN '0400'
        WHEN 27 THEN '04' || m || m
        WHEN 28 THEN '+61'
        WHEN 29 THEN '0000000000'
        WHEN 36 THEN NULL
        WHEN 37 THEN NULL
        WHEN 38 THEN ''
        ELSE '+614' || m
    END;
END $$;

CREATE FUNCTION pg_temp.given_name(i int8) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT ('{Zoë,Siobhán,José,Renée,Søren,Łukasz,Nguyễn,Mei,Ravi,Olivia,Jack,Charlotte,Noah,Amelia,William,Isla,'
    'Henry,Mia,Leo,Ava,Björn,Chloé,Dáithí,Eléonore,François,Gülşen,Hana,Ivan,Jarrah,Kirra,Lowanna,Marlee,'
    'Tjarra,Yindi,Zainab,Omar,Priya,Kenji,Anaïs,Máire}'::text[])[1 + pg_temp.h(i, 1) % 40] $$;

CREATE FUNCTION pg_temp.family_name(i int8) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT ('{O''Brien,D''Angelo,Smith,Nguyen,Jones,Williams,Brown,Wilson,Taylor,Müller,García,Núñez,Kowalski,Østergård,'
    'O''Connor,Singh,Patel,Chen,Tran,Lê,Phạm,Kim,Yılmaz,Dvořák,Šimić,Papadopoulos,McDonald,van der Berg,De Luca,'
    'N''Golo,Wang,Kelly,Walker,Harris,Thompson,White,Martin,Campbell,Robinson,Anderson}'::text[]
)[1 + pg_temp.h(i, 1) / 40 % 40] $$;

-- A user's e-mail address before any fault; unique, in domains reserved for examples.
CREATE FUNCTION pg_temp.plain_email(i int8) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT ('{zoe,siobhan,jose,renee,soren,lukasz,nguyen,mei,ravi,olivia,jack,charlotte,noah,amelia,william,isla,'
    'henry,mia,leo,ava,bjorn,chloe,daithi,eleonore,francois,gulsen,hana,ivan,jarrah,kirra,lowanna,marlee,'
    'tjarra,yindi,zainab,omar,priya,kenji,anais,maire}'::text[])[1 + pg_temp.h(i, 1) % 40]
    || '.' || i::text || '@' || ('{example.com,example.net,example.org,example.com.au}'::text[]
    )[1 + pg_temp.h(i, 1) / 1600 % 4] $$;

-- A user's e-mail address. A duplicate repeats the address of the user 20 or 40 rows before in other case.
CREATE FUNCTION pg_temp.email(i int8) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT CASE
    WHEN pg_temp.users_email_duplicate_second(i) THEN initcap(pg_temp.plain_email(i - 20))
    WHEN pg_temp.users_email_duplicate_third(i) THEN upper(pg_temp.plain_email(i - 40))
    WHEN pg_temp.users_email_malformed(i) THEN replace(pg_temp.plain_email(i), '@', ' at ')
    ELSE pg_temp.plain_email(i)
END $$;

-- What is bought: `m` from 0 to 23; the first two are income. Used by transactions and receipts.
CREATE FUNCTION pg_temp.merchant(m int8) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT ('{ACME PAYROLL,CLIENT TRANSFER,WOOLWORTHS,COLES,ALDI,BUNNINGS,OFFICEWORKS,BP,SHELL,AMPOL,TELSTRA,OPTUS,'
    'QANTAS,VIRGIN AUSTRALIA,UBER,OPAL TRAVEL,ORIGIN ENERGY,AGL,MEDIBANK,JB HI-FI,KMART,CAFÉ SYDNEY,TAFE NSW,'
    'CPA AUSTRALIA}'::text[])[1 + m] $$;

CREATE FUNCTION pg_temp.tax_category(m int8) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT ('{PERSONAL,P8,PERSONAL,PERSONAL,PERSONAL,D5,D5,D1,D1,D1,D5,D5,D2,D2,D2,D2,D5,D5,D15,D6,PERSONAL,P8,D4,'
    'D10}'::text[])[1 + m] $$;

-- An invoice line's quantity and its price for one, in cents; prices are whole ten cents, so that 10% is exact.
CREATE FUNCTION pg_temp.line_quantity(line int8) RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT (1 + pg_temp.h(line, 70) % 9)::int $$;

CREATE FUNCTION pg_temp.line_price(line int8) RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT (500 + 10 * (pg_temp.h(line, 71) % 5000))::int $$;
